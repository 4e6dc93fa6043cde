"""How large a request may be, by bytes and by values, and how many are in memory at once."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.gateway import bodies
from node_agent.gateway.bodies import MOST_VALUES, Room, check_values, largest
from node_agent.gateway.http import Framing, TooLarge
from node_agent.gateway.meter import Wire
from node_agent.gateway.routes import RequestTarget, route_of

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
        patch.setattr(bodies, "MOST_VALUES", number - 2)
        if number > 1:
            with pytest.raises(TooLarge):
                check_values(json.dumps(value).encode())


def test_each_wire_has_its_bound_and_a_look_needs_no_body() -> None:
    def asks(method: str, path: str) -> int:
        return largest(RequestTarget(method, path, "", route_of(method, path)))

    assert asks("POST", "/v1/messages") == 32 << 20
    assert asks("POST", "/v1beta/models/gemini-3:generateContent") == 20 << 20
    assert asks("GET", "/v1/models") == 1 << 20
    assert set(bodies.LARGEST) == set(Wire)


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
