"""Who has to go where too many wait without the run's key."""

from __future__ import annotations

import asyncio
import os
import socket

from node_agent.gateway.admission import OpenConnection, surplus, users_by_ports


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
    assert ports(surplus(callers(7, 7, 7, 7), 2)) == [0, 1]


def test_the_one_of_another_user_stays_however_many_a_stranger_has() -> None:
    assert ports(surplus(callers(1000, *[7] * 300), 50)) == list(range(1, 252))


def test_users_with_as_many_give_way_alike() -> None:
    assert sorted(ports(surplus(callers(7, 8, 7, 8, None), 3))) == [0, 1]


def test_nobody_goes_while_there_is_room() -> None:
    assert surplus(callers(7, 7), 2) == []


def test_the_kernel_tells_whose_a_connection_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = server.getsockname()
        with socket.create_connection(near) as line:
            assert users_by_ports()[(line.getsockname()[1], near[1])] == os.getuid()
