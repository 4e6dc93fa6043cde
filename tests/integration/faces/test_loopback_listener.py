"""`pancode web` without a setting: a port on loopback that is kept, and closed without a session."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pancode.app.server.tcp_listeners import LoopbackListener
from pancode.fleet.place import ListenAddress
from pancode.interfaces.http.access import tokens
from pancode.interfaces.http.access.codes import make_code
from pancode.interfaces.http.context import ApiContext as ApiDesk
from pancode.kernel.records import ApiToken
from pancode.kernel.visitors import AccessScope, is_confirmed
from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S, Served, Shell, until
from tests.unit.pancode.interfaces.http.world import FACTS, MemoryCoordinator
from tests.unit.pancode.runs.world import Desk, Puppet


class Room:
    """A coordinator without the setting; its listener looks five times a second whether anybody is there."""

    def __init__(self, home: Path) -> None:
        desk = Desk()
        Puppet(desk).breathe()
        self.context = ApiDesk(MemoryCoordinator(desk, home), dict(FACTS), lambda by: None)
        self.kept = home / "web/port"
        self.listener = LoopbackListener(self.context, self.kept, look_ticks=2)

    def session(self) -> tuple[str, int]:
        """A browser's token, and the port to which it goes."""
        code = make_code(self.context.core, (AccessScope.ADMIN,), 60_000, "ana")
        port = int(self.listener.url().rpartition(":")[2])
        return asked(port, "POST", "/v1/web/session", {"code": code})[1]["token"], port


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.listener.stop()


def asked(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S * crowded())
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def is_shut(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_it_is_open_as_long_as_a_browser_has_a_session_and_keeps_its_port(room: Room) -> None:
    token, port = room.session()
    headers = {"Authorization": f"Bearer {token}"}
    assert asked(port, "GET", "/v1/web/session", **headers)[0] == 200
    assert asked(port, "GET", "/v1/runs")[0] == 401
    assert asked(port, "GET", "/v1/runs", Host="rebind.test", **headers)[0] == 421
    for _ in range(8):  # it looks, and the session is there
        assert asked(port, "GET", "/v1/web/session", **headers)[0] == 200
    assert room.listener.url().endswith(f":{port}")
    room.listener.stop()  # as by a restart
    after = LoopbackListener(room.context, room.kept)
    after.start()
    assert asked(port, "GET", "/v1/web/session", **headers)[0] == 200, "the tab continues"
    after.stop()
    room.session()
    for one in tokens.list_tokens(room.context.core):
        tokens.revoke(room.context.core, one["name"], "ana")
    until(lambda: is_shut(port), "the port is closed")
    nobody = LoopbackListener(room.context, room.kept)
    nobody.start()
    assert is_shut(port), "without a session it is not opened at a start"
    assert room.session()[1] == port, "the next command opens it again"


def test_where_its_port_is_taken_it_takes_another(room: Room) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        room.kept.parent.mkdir()
        room.kept.write_text(str(other.getsockname()[1]))
        _, port = room.session()
        assert port != other.getsockname()[1] and room.kept.read_text() == str(port)


def test_where_its_port_is_taken_every_browser_needs_a_new_link(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    _, port = room.session()
    room.listener.stop()
    with socket.create_server(("127.0.0.1", port)):
        after = LoopbackListener(room.context, room.kept)
        after.start()
        after.stop()
    with room.context.core.ports.ledger.transaction() as tx:
        (row,) = tx.find(ApiToken)
    assert not is_confirmed(row, room.context.core.wall_ms()) and "new link" in caplog.text


def test_a_setting_of_its_own_comes_first(room: Room) -> None:
    from pancode.fleet.place import ApiListener

    room.session()
    room.listener.stop()
    coordinator = room.context.coordinator
    assert isinstance(coordinator, MemoryCoordinator)
    coordinator.listener = ApiListener(ListenAddress("127.0.0.1", 0, "a test"))
    room.listener.start()
    assert is_shut(int(room.kept.read_text()))


def test_the_command_needs_no_setting(served: Served, tmp_path: Path) -> None:
    pancode = Shell(served.home, tmp_path)
    told = pancode("web", "--print")
    assert told.status == 0, told.err
    link = urlsplit(told.out.strip())
    assert link.hostname == "127.0.0.1" and link.fragment.startswith("code=") and link.port
    code = link.fragment.removeprefix("code=")
    assert asked(link.port, "POST", "/v1/web/session", {"code": code})[0] == 201
    connection = http.client.HTTPConnection("127.0.0.1", link.port, timeout=PATIENCE_S * crowded())
    connection.request("GET", "/")
    page = connection.getresponse()
    assert page.status == 200 and b"<!doctype html>" in page.read().lower()
    connection.close()
    assert urlsplit(pancode("web", "--print").out.strip()).port == link.port


def test_a_port_that_cannot_be_kept_is_told_each_time(room: Room) -> None:
    room.kept.parent.write_text("no folder")
    for _ in range(2):
        with pytest.raises(OSError, match="web"):
            room.listener.url()
