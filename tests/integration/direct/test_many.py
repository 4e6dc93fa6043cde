"""What many connections at once, and a ledger that is away, do to the entrance."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from node_agent.link.direct import NotLetInError, _make_context, dial
from pancode.fleet.direct import port
from pancode.fleet.direct.port import WAITING
from pancode.fleet.place import ListenAddress
from pancode.fleet.ssh.connection_limit import MOST
from pancode.kernel.errors import UnavailableError
from tests.integration.direct.conftest import House, Visitor
from tests.integration.git.depot_world import until


@pytest.mark.slow
def test_a_ledger_that_is_away_for_a_moment_closes_no_door(house: House, anna: Visitor) -> None:
    entrance = house.open()
    with dial(anna.end(), 5) as inside:
        house.away = UnavailableError("the ledger cannot be reached", why="it restarts", fix="wait")
        with pytest.raises(NotLetInError, match="it restarts"):
            dial(anna.end(), 5)
        asked = house.asked
        until(lambda: house.asked >= asked + 2, timeout_s=40)  # the entrance looked after those inside, twice
        house.away = None
        dial(anna.end(), 5).close()
        assert entrance.trouble == ""
        inside.setblocking(False)
        with pytest.raises(BlockingIOError):
            inside.recv(1)  # nor was it put out


def test_many_at_once_are_no_more_than_may_be(house: House, anna: Visitor) -> None:
    silent = house.depot.socket = house.folder / "silent.sock"  # the depot would end who says nothing
    house.open()
    place = anna.end("depot")

    def come(_: int) -> socket.socket | str:
        try:
            return dial(place, 20)
        except NotLetInError as exc:
            return str(exc)

    with ExitStack() as opened, ThreadPoolExecutor(MOST + 16) as pool:
        behind = opened.enter_context(socket.socket(socket.AF_UNIX))
        behind.bind(str(silent))
        behind.listen(MOST + 16)
        found = list(pool.map(come, range(MOST + 16)))
        let_in = [opened.enter_context(one) for one in found if isinstance(one, socket.socket)]
        refused = {one for one in found if isinstance(one, str)}
        assert len(let_in) <= MOST
        assert refused == {f"anna already has the maximum of {MOST} connections"}


def test_who_says_nothing_keeps_nobody_out(
    house: House, anna: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a login nobody can take all the files that the coordinator may open."""
    monkeypatch.setattr(port, "HANDSHAKE_S", 600.0)  # they do not leave by themselves
    house.open()
    before = len(os.listdir("/proc/self/fd"))
    with ExitStack() as opened:
        for _ in range(4 * WAITING):
            opened.enter_context(socket.create_connection((house.place.host, house.place.port), 5))
        dial(anna.end(), 10).close()
        # ours, and what is held of them at the other end, which is in this process, too
        until(lambda: len(os.listdir("/proc/self/fd")) < before + 4 * WAITING + 1.5 * WAITING, timeout_s=5)


def test_no_connection_is_taken_up_again_without_its_certificate(house: House, anna: Visitor) -> None:
    house.open()
    with (
        socket.create_connection((house.place.host, house.place.port), 5) as plain,
        _make_context(anna.end()).wrap_socket(plain, server_hostname=house.place.host) as tls,
    ):
        assert tls.recv(100) == b'{"ok":true}\n'
        assert tls.session is None or not tls.session.has_ticket


def test_every_address_is_none_to_listen_at_whatever_it_is_called(house: House) -> None:
    house.place = ListenAddress("0", house.place.port, "a test")
    assert "wildcard address" in house.open().trouble


@pytest.mark.parametrize("steps", range(6))
def test_who_comes_while_it_shuts_is_hung_up_on(steps: int) -> None:
    """Whichever step of the loop it is: nobody is left open and forgotten."""

    async def entered(*_: object) -> None:
        raise AssertionError("nobody was let in")

    async def go() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        opened = port.Port(ListenAddress("127.0.0.1", 0, "a test"), context, entered, lambda why: None)
        with socket.socket() as client:
            async with opened:
                await asyncio.sleep(0.01)
                client.connect(opened._listening[0].getsockname())
                for _ in range(steps):
                    await asyncio.sleep(0)
            gc.collect()

    asyncio.run(go())
