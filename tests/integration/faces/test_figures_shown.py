"""The port of figures: one page there, nothing else; a coordinator continues where it cannot be had."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.app.server.tcp_listeners import Shown
from pancode.fleet.place import ListenAddress, place_of
from pancode.interfaces.http.context import ApiContext as ApiDesk
from pancode.kernel.errors import ConfigError
from tests.integration.faces.conftest import until
from tests.unit.pancode.interfaces.http.world import FACTS, MemoryCoordinator
from tests.unit.pancode.runs.world import Desk, Puppet


@pytest.fixture
def place() -> Iterator[ListenAddress]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield ListenAddress("127.0.0.1", port, "metrics.listen of a test")


def api_context(home: Path, place: ListenAddress | None) -> ApiDesk:
    context = Desk()
    Puppet(context).breathe()
    coordinator = MemoryCoordinator(context, home)
    coordinator.figures_at = place
    return ApiDesk(coordinator, dict(FACTS), lambda by: None)


def asked(place: ListenAddress, method: str, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(place.host, place.port, timeout=10)
    try:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_figures_are_read_by_whoever_may_connect_and_nothing_else_is(
    tmp_path: Path, place: ListenAddress
) -> None:
    shown = Shown(api_context(tmp_path, place))
    shown.start()
    try:
        status, text = asked(place, "GET", "/metrics")
        assert status == 200 and 'pancode_node_up{node="n1"} 1\n' in text
        assert asked(place, "HEAD", "/metrics") == (200, "")
        status, text = asked(place, "GET", "/metrics", f"rebound.example:{place.port}")
        assert status == 421 and "n1" not in text, "a name that a stranger leads here"
        assert asked(place, "GET", "/v1/runs")[0] == 404
        assert asked(place, "POST", "/v1/shutdown")[0] == 404
        assert asked(place, "POST", "/metrics")[0] == 405
    finally:
        shown.stop()
    with pytest.raises(ConnectionRefusedError):
        asked(place, "GET", "/metrics")


def test_an_address_that_is_taken_is_told_and_stops_nothing(tmp_path: Path, place: ListenAddress) -> None:
    context = api_context(tmp_path, place)
    with socket.create_server((place.host, place.port)):
        shown = Shown(context)
        shown.start()
        shown.stop()
    (trouble,) = context.closed
    assert str(place) in trouble["what"] and "of a test" in trouble["what"]
    assert "in use" in trouble["why"] and "metrics.listen" in trouble["fix"]


def test_an_address_that_is_free_a_moment_later_is_opened_then(tmp_path: Path, place: ListenAddress) -> None:
    context = api_context(tmp_path, place)
    shown = Shown(context, again_s=0.05)
    with socket.create_server((place.host, place.port)):
        shown.start()
        assert context.closed
    try:
        until(lambda: not context.closed, "it is opened")
        assert asked(place, "GET", "/metrics")[0] == 200
    finally:
        shown.stop()


EXAMPLE = "metrics.listen: 127.0.0.1:9464"


def test_nothing_listens_where_nothing_was_named(tmp_path: Path) -> None:
    context = api_context(tmp_path, None)
    shown = Shown(context)
    shown.start()
    shown.stop()
    assert context.closed == []


@pytest.mark.parametrize(
    ("text", "place"),
    [("127.0.0.1:9464", "127.0.0.1:9464"), ("[::1]:9464", "[::1]:9464"), ("0.0.0.0:1", "0.0.0.0:1")],
)
def test_an_address_is_read(text: str, place: str) -> None:
    assert str(place_of(text, "a test", EXAMPLE)) == place


@pytest.mark.parametrize("text", ["9464", "localhost:", ":9464", "::1:9464", "h:0", "h:65536"])
def test_one_that_is_none_says_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        place_of(text, "metrics.listen of a.yaml", EXAMPLE)
    assert "a.yaml" in str(refused.value) and EXAMPLE in refused.value.fix


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:9464", True),
        ("127.0.0.1", True),
        ("[::1]:9464", True),
        ("10.0.0.5:9464", True),
        ("LocalHost:9464", True),
        ("localhost.", True),
        ("coordinator:9464", True),
        ("gpubox:9464", True),
        ("evil.example:9464", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:9464", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_by_which_names_it_is_called(host: str, ours: bool) -> None:
    assert ListenAddress("gpubox", 9464, "a test", names=("coordinator",)).is_called(host) is ours
