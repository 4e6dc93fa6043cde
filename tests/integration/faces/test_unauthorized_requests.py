"""Strangers at the TCP ports: heads and bodies without an end, connections that wait, a flood of them."""

from __future__ import annotations

import http.client
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pancode.app.server import http_server, tcp_listeners
from pancode.app.server.connection_places import PlaceBounds
from pancode.app.server.tcp_listeners import Shown
from pancode.fleet.place import ListenAddress
from pancode.interfaces.http import streams
from pancode.kernel.visitors import AccessScope
from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S, Shell, until
from tests.integration.faces.test_figures_shown import api_context
from tests.integration.faces.test_tcp_listener import FREE, Opening, asked

HEAD = b"GET /v1/ping HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Opening]:
    made = Opening(tmp_path, FREE)
    made.listener.start()
    yield made
    made.context.closing.set()
    made.context.bell.ring()
    made.listener.stop()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S * crowded())


def sent(port: int, begin: bytes, piece: bytes, most: int) -> tuple[int, bytes]:
    """How many bytes were taken before the end, and the answer to them."""
    with connected(port) as wire:
        taken, answer = 0, b""
        with suppress(ConnectionError):
            wire.sendall(begin)
            while taken < most:
                wire.sendall(piece)
                taken += len(piece)
        with suppress(ConnectionError):
            while part := wire.recv(65536):
                answer += part
    return taken, answer


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (HEAD + b"X: ", b"a" * 16384),
        (HEAD + b"X", b"a" * 16384),
        (b"GET /v1/ping?", b"a" * 16384),
        (HEAD, b"".join(b"X%d: a\r\n" % number for number in range(2000))),
        (b"", b"\r\n" * 8192),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 16384),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 16384),
        (HEAD + b"Content-Length: 999999999999\r\n\r\n", b"a" * 65536),
    ],
    ids=["value", "name", "path", "names", "nothing", "chunk", "trailer", "body"],
)
def test_what_has_no_end_is_cut(opening: Opening, begin: bytes, piece: bytes) -> None:
    taken, _ = sent(opening.port, begin, piece, 64 * 2**20)
    assert taken < 24 * 2**20, "what the system keeps on the way, and no more than a body may have"
    assert asked(http.client.HTTPConnection("127.0.0.1", opening.port), "/v1/runs", {})[0] == 401


def test_a_head_that_is_too_large_is_told_and_one_of_60_kb_is_none(opening: Opening) -> None:
    for size, status in ((60_000, b"200"), (70_000, b"431")):
        _, answer = sent(opening.port, HEAD + b"Connection: close\r\nX: " + b"a" * size + b"\r\n\r\n", b"", 0)
        assert answer.split(b" ")[1] == status


def test_two_names_of_the_host_are_refused_wherever_they_stand(opening: Opening) -> None:
    for other in (b"127.0.0.1", b"evil.example"):
        wire = HEAD + b"Host: " + other + b"\r\nConnection: close\r\n\r\n"
        assert sent(opening.port, wire, b"", 0)[1].split(b" ")[1] == b"400"
    last = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\nHost: evil.example\r\n\r\n"
    assert sent(opening.port, HEAD + last, b"", 0)[1].split(b" ")[1] == b"200", "a trailer is not a header"


def test_a_crowd_of_requests_on_one_connection_is_cut(opening: Opening) -> None:
    _, answer = sent(opening.port, (HEAD + b"\r\n") * 5000, b"", 0)
    assert answer.count(b"HTTP/1.1 200") < 100


@pytest.mark.slow
def test_a_head_has_a_deadline_and_a_stream_of_a_token_has_none(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "QUIET_S", 0.2)
    for name in ("HEAD_S", "TAKEN_S", "BODY_S"):
        monkeypatch.setattr(http_server, name, 0.2)
    stream = http.client.HTTPConnection("127.0.0.1", opening.port, timeout=PATIENCE_S * crowded())
    stream.request("GET", "/v1/events", headers=opening.token(AccessScope.READ, name="watcher"))
    followed = stream.getresponse()
    assert followed.status == 200
    slow = [HEAD, HEAD + b"\r\n" + HEAD, b"\r\n", b"POST /v1/runs HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
    for begin in slow:
        with connected(opening.port) as wire:
            wire.sendall(begin)
            with suppress(ConnectionError):
                while wire.recv(65536):
                    pass
    for _ in range(4):
        assert followed.readline(), "it continues"
    stream.close()


def test_those_who_wait_give_way(opening: Opening) -> None:
    headers = opening.token(AccessScope.READ)
    kept = http.client.HTTPConnection("127.0.0.1", opening.port, timeout=PATIENCE_S * crowded())
    kept.request("GET", "/v1/runs", headers=headers)
    assert kept.getresponse().read()
    own = kept.sock
    waiting = [connected(opening.port) for _ in range(tcp_listeners.BOUNDS.each + 20)]
    try:
        for wire in waiting[:20]:
            with suppress(ConnectionError):
                assert wire.recv(1) == b"", "the eldest are cut"
        again = http.client.HTTPConnection("127.0.0.1", opening.port, timeout=PATIENCE_S * crowded())
        assert asked(again, "/v1/runs", headers)[0] == 200
        kept.request("GET", "/v1/runs", headers=headers)
        assert kept.getresponse().status == 200 and kept.sock is own, "whoever showed a token stays"
    finally:
        kept.close()
        for wire in waiting:
            wire.close()


def test_the_port_of_figures_has_the_same_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_listeners, "FIGURES_BOUNDS", PlaceBounds(4, 4, 4))
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = ListenAddress("127.0.0.1", free.getsockname()[1], "a test")
    shown = Shown(api_context(tmp_path, place))
    shown.start()
    waiting = [connected(place.port) for _ in range(20)]
    try:
        taken, _ = sent(place.port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ", b"a" * 16384, 2**26)
        assert taken < 2**23
        connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=PATIENCE_S * crowded())
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        for wire in waiting:
            wire.close()
        shown.stop()


@pytest.mark.slow
def test_half_open_connections_beyond_its_files_leave_the_owner_his_commands(pancode: Shell) -> None:
    """A real coordinator that may open 300 files, and 900 connections on which nothing whole is said."""
    (pancode.home / "pancode.yaml").write_text("api: {listen: 127.0.0.1:0}\n")
    (pancode.home / "run").mkdir()
    log = pancode.home / "run/coordinator.log"
    with open(log, "wb") as sink:
        coordinator = subprocess.Popen(
            [sys.executable, "-m", "pancode", "serve"],
            env=pancode.environ(),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)),
        )
    waiting: list[socket.socket] = []
    try:
        until(lambda: b"serving" in log.read_bytes(), "the coordinator serves")
        found = re.search(r"open at 127.0.0.1:0, port (\d+)", log.read_text())
        assert found
        for _ in range(900):
            wire = connected(int(found[1]))
            with suppress(ConnectionError):
                wire.sendall(HEAD)
            waiting.append(wire)
        before = log.stat().st_size
        assert len(os.listdir(f"/proc/{coordinator.pid}/fd")) < 200
        told = pancode("fleet", "status", "--json")
        assert told.status == 0 and told.data["coordinator"]["pid"] == coordinator.pid
        assert log.stat().st_size - before < 20_000
    finally:
        for wire in waiting:
            wire.close()
        coordinator.terminate()
        coordinator.wait(PATIENCE_S * crowded())
