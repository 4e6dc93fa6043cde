"""Connections of callers without the key, and how large requests may be."""

from __future__ import annotations

import asyncio
import json
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.gateway import client
from node_agent.gateway.client import (
    MOST_VALUES,
    OpenConnection,
    Room,
    check_values,
    find_body_limit,
    select_surplus,
    users_by_ports,
)
from node_agent.gateway.http import Framing, TooLarge
from node_agent.gateway.meter import Wire
from node_agent.gateway.requests import RequestTarget, route_of


class NoTask(asyncio.Future):
    """Stands for the task of a connection that nobody serves."""


def callers(*uids: int | None) -> list[OpenConnection]:
    loop = asyncio.new_event_loop()
    try:
        return [OpenConnection(NoTask(loop=loop), (number, 1), uid) for number, uid in enumerate(uids)]  # type: ignore[arg-type]
    finally:
        loop.close()


def ports(gone: list[OpenConnection]) -> list[int]:
    return [caller.ports[0] for caller in gone]


def test_of_one_user_those_who_have_waited_longest_go() -> None:
    assert ports(select_surplus(callers(7, 7, 7, 7), 2)) == [0, 1]


def test_the_one_of_another_user_stays_however_many_a_stranger_has() -> None:
    assert ports(select_surplus(callers(1000, *[7] * 300), 50)) == list(range(1, 252))


def test_users_with_as_many_give_way_alike() -> None:
    assert sorted(ports(select_surplus(callers(7, 8, 7, 8, None), 3))) == [0, 1]


def test_nobody_goes_while_there_is_room() -> None:
    assert select_surplus(callers(7, 7), 2) == []


def test_the_kernel_tells_whose_a_connection_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = server.getsockname()
        with socket.create_connection(near) as line:
            assert users_by_ports()[(line.getsockname()[1], near[1])] == os.getuid()


MANY = MOST_VALUES + 10


@pytest.mark.parametrize("unit", [b"{}", b"[]", b"0", b'""', b'{"a":1}', b"[[],[]]"])
def test_many_small_values_are_too_many(unit: bytes) -> None:
    with pytest.raises(TooLarge, match="250000 JSON values"):
        check_values(b'{"messages":[' + b",".join([unit] * MANY) + b"]}")


def test_as_many_marks_within_texts_are_none() -> None:
    text = 'He said: "a, b", [c], {d}\\' * MANY
    check_values(json.dumps({"model": "m", "messages": [{"content": text}]}).encode())


def test_quotes_without_end_are_too_many() -> None:
    with pytest.raises(TooLarge):
        check_values(b'"' * (5 * MOST_VALUES) + b"," * MANY)


json_values = st.recursive(
    st.none() | st.integers() | st.text('a",[{\\é'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('a",[{\\'), inner),
)


@given(value=json_values)
def test_values_are_never_counted_too_low(value: object) -> None:
    number, todo = 0, [value]
    while todo:
        one = todo.pop()
        number += 1
        todo += one if isinstance(one, list) else one.values() if isinstance(one, dict) else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "MOST_VALUES", number - 2)
        if number > 1:
            with pytest.raises(TooLarge):
                check_values(json.dumps(value).encode())


def test_each_wire_has_its_bound_and_a_look_needs_no_body() -> None:
    def asks(method: str, path: str) -> int:
        return find_body_limit(RequestTarget(method, path, "", route_of(method, path)))

    assert asks("POST", "/v1/messages") == 32 << 20
    assert asks("POST", "/v1beta/models/gemini-3:generateContent") == 20 << 20
    assert asks("GET", "/v1/models") == 1 << 20
    assert set(client.LARGEST) == set(Wire)


def test_requests_wait_until_there_is_room_and_none_waits_for_ever() -> None:
    async def go() -> list[str]:
        room, told = Room(100), []

        async def one(name: str, framing: int | Framing, hold: asyncio.Event) -> None:
            async with room.of(framing, 80):
                told.append(name)
                await hold.wait()

        first, others = asyncio.Event(), asyncio.Event()
        others.set()
        tasks = [
            asyncio.create_task(one("large", 500, first)),
            asyncio.create_task(one("of no size", Framing.CHUNKED, others)),
            asyncio.create_task(one("small", 20, others)),
        ]
        for _ in range(10):
            await asyncio.sleep(0)
        before = list(told)
        tasks[1].cancel()
        first.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with room.of(80, 80):
            told.append("after")
        return [*before, "|", *told]

    assert asyncio.run(go()) == ["large", "small", "|", "large", "small", "after"]
