"""The listener for real: a free port that is told, TLS, streams that end with their token, trouble told."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from pancode.app.server.connection_places import PlaceBounds
from pancode.app.server.http_server import QUIET, _Server
from pancode.app.server.tcp_listeners import TcpListener
from pancode.fleet.place import ApiListener, ListenAddress
from pancode.interfaces.http import streams, tcp
from pancode.interfaces.http.access import tokens
from pancode.interfaces.http.context import ApiContext as ApiDesk
from pancode.kernel.visitors import AccessScope, NewToken
from tests.contract.certificates import Authority
from tests.integration.faces.conftest import until
from tests.unit.pancode.interfaces.http.world import FACTS, MemoryCoordinator
from tests.unit.pancode.runs.world import Desk, Puppet
from tests.unit.pancode.schedules.world import signed_headers

FREE = ApiListener(ListenAddress("127.0.0.1", 0, "api.listen of a test"))


class Opening:
    """A coordinator whose API is open over TCP."""

    def __init__(self, home: Path, place: ApiListener, again_s: float = 5.0) -> None:
        desk = Desk()
        Puppet(desk).breathe()
        self.context = ApiDesk(MemoryCoordinator(desk, home), dict(FACTS), lambda by: None)
        self.listener = TcpListener(self.context, place, again_s)

    @property
    def port(self) -> int:
        return int(str(self.context.facts["api"]).rpartition(":")[2])

    def token(self, *scopes: AccessScope, name: str = "t") -> dict[str, str]:
        made = tokens.create(self.context.core, NewToken(name, scopes, None), "ana")
        return {"Authorization": f"Bearer {made['token']}", "Content-Type": "application/json"}


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Opening]:
    made = Opening(tmp_path, FREE)
    made.listener.start()
    yield made
    made.context.closing.set()
    made.context.bell.ring()
    made.listener.stop()


def asked(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_free_port_is_told_and_answers_to_a_token(opening: Opening) -> None:
    assert opening.port > 0 and opening.context.closed == []
    status, told = asked(http.client.HTTPConnection("127.0.0.1", opening.port), "/v1/runs", {})
    assert (status, told["code"]) == (401, "no_token")
    headers = opening.token(AccessScope.READ)
    status, told = asked(http.client.HTTPConnection("127.0.0.1", opening.port), "/v1/fleet", headers)
    assert status == 200 and told["coordinator"]["api"] == opening.context.facts["api"]


def test_a_stream_ends_when_its_token_is_revoked(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "LOOK_S", 0.0)
    monkeypatch.setattr(streams, "QUIET_S", 0.2)
    connection = http.client.HTTPConnection("127.0.0.1", opening.port, timeout=20)
    connection.request("GET", "/v1/events", headers=opening.token(AccessScope.READ, name="watcher"))
    answer = connection.getresponse()
    tokens.revoke(opening.context.core, "watcher", "ana")  # which is an event
    assert b"token revoked" not in answer.read(), "it ends before it tells more"
    connection.close()


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("bounds", [None, PlaceBounds(8, 8, 4)], ids=["owner", "strangers"])
def test_who_comes_while_it_closes_is_hung_up_on(bounds: PlaceBounds | None, steps: int) -> None:
    """Whichever step of the loop it is: nobody is left open and forgotten."""

    async def go() -> None:
        config = uvicorn.Config(Starlette(), **QUIET)
        server = _Server(config, lambda: None, bounds)
        config.load()
        server.lifespan = config.lifespan_class(config)
        with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
            await server.startup([listening])
            await asyncio.sleep(0.01)
            client.connect(listening.getsockname())
            for _ in range(steps):
                await asyncio.sleep(0)
            await server.shutdown()
            gc.collect()

    asyncio.run(go())


def test_tls_beyond_this_machine(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    pair = authority.issue("desk", "localhost")
    place = ApiListener(ListenAddress("127.0.0.1", 0, "x"), pair.cert, pair.key)
    opening = Opening(tmp_path, place)
    opening.listener.start()
    try:
        assert str(opening.context.facts["api"]).startswith("https://")
        trusted = ssl.create_default_context(cafile=str(authority.ca))
        connection = http.client.HTTPSConnection("localhost", opening.port, context=trusted)
        assert asked(connection, "/v1/runs", opening.token(AccessScope.READ))[0] == 200
    finally:
        opening.listener.stop()


def test_a_certificate_that_is_not_there_is_told_and_stops_nothing(tmp_path: Path) -> None:
    place = ApiListener(ListenAddress("127.0.0.1", 0, "x"), tmp_path / "no.pem", tmp_path / "no.key")
    opening = Opening(tmp_path, place, again_s=0.05)
    opening.listener.start()
    try:
        (trouble,) = opening.context.closed
        assert "the API is not open" in trouble["what"] and "api" not in opening.context.facts
    finally:
        opening.listener.stop()


def test_a_port_that_is_taken_is_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = ApiListener(ListenAddress("127.0.0.1", taken.getsockname()[1], "x"))
        opening = Opening(tmp_path, place, again_s=0.05)
        opening.listener.start()
        assert len(opening.context.closed) == 1
    try:
        until(lambda: "api" in opening.context.facts, "the listener is open")
        assert opening.context.closed == []
    finally:
        opening.listener.stop()


def test_a_signed_webhook_comes_in_over_tcp(opening: Opening) -> None:
    def post(path: str, said: dict[str, str], body: bytes) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", opening.port, timeout=20)
        try:
            connection.request("POST", path, body, said)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    token = opening.token(AccessScope.DISPATCH)
    work = {"dispatch": {"task": "true", "runtime": "shell", "workspace": "none"}}
    wanted = json.dumps({"name": "ci", "on": "webhook", **work}).encode()
    status, made = post("/v1/schedules", token, wanted)
    assert (status, made["url"]) == (201, f"{opening.context.facts['api']}/v1/hooks/ci")
    wall_ms, body = opening.context.core.wall_ms(), b"\x00 no JSON at all"
    said = signed_headers(made["secret"], "msg_1", wall_ms // 1000, body)
    assert post("/v1/hooks/ci", said, body) == (202, {"schedule": "ci", "taken": True, "why": ""})
    assert post("/v1/hooks/ci", said, body)[1]["taken"] is False
    status, told = post("/v1/hooks/ci", said, body + b"!")
    assert (status, told["code"]) == (403, "wrong_signature")
    assert post("/v1/hooks/other", said, body) == (status, told)
    assert post("/v1/runs", said, body)[1]["code"] == "no_token", "its headers open nothing else"
