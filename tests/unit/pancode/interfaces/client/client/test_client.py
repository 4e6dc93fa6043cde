"""The client's own rules: where the home is, what a path may hold, how a problem becomes an error."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from pancode.interfaces.client.client import Client, FleetDownError, StreamCutError, home_of, path_of
from pancode.interfaces.client.client import _start_failed as start_failed
from pancode.interfaces.client.connection import SOCKET, Connection, NotRunningError, open_socket_path
from pancode.kernel.errors import ApiError, ConfigError, ExitCode, PancodeError, UnavailableError, UsageError


def test_the_home_is_the_variables_or_the_users() -> None:
    assert home_of({"PANCODE_HOME": "/x/y", "HOME": "/h"}) == Path("/x/y")
    assert home_of({"HOME": "/h"}) == Path("/h/.pancode")
    with pytest.raises(ConfigError) as relative:
        home_of({"PANCODE_HOME": "here"})
    assert relative.value.fix == f"export PANCODE_HOME={Path('here').absolute()}"


def test_what_a_user_typed_is_one_part_of_a_path() -> None:
    assert path_of("runs", "../x?y#z %", "log") == "/v1/runs/..%2Fx%3Fy%23z%20%25/log"


def test_an_empty_name_is_no_name_and_does_not_stand_for_all(tmp_path: Path) -> None:
    asked = Client(tmp_path, starts=False)
    for ask in (lambda: path_of("runs", "", "stop"), lambda: asked.get("/v1/queues", name="")):
        with pytest.raises(UsageError, match="the name is empty"):
            ask()


def test_what_is_no_text_is_no_name() -> None:
    assert path_of("runs", "\U0001f642") == "/v1/runs/%F0%9F%99%82"
    with pytest.raises(UsageError, match="not valid text"):
        path_of("runs", "\udcff")


def test_a_long_home_is_reached_through_its_open_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with open_socket_path(deep, "api.sock") as path:
        assert len(path) < 100 and os.path.realpath(path) == str(deep / "api.sock")
    with open_socket_path(Path("/short"), "api.sock") as path:
        assert path == "/short/api.sock"


def test_a_problem_is_an_error_with_its_status() -> None:
    error = ApiError({"code": "refused_mode", "message": "no", "why": "w", "fix": "f", "exit_code": 5})
    assert error.problem() == PancodeError("no", why="w", fix="f", code="refused_mode").problem().__class__(
        "refused_mode", "no", "w", "f", 5, False
    )
    assert ApiError({"exit_code": 77}).exit_code is ExitCode.INTERNAL
    assert str(ApiError({}))


def test_without_a_coordinator_and_without_starting_one(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError) as told:
        Client(tmp_path, starts=False).get("/v1/runs")
    assert told.value.exit_code is ExitCode.UNAVAILABLE and told.value.fix == "pancode fleet up"


def test_a_home_that_cannot_be_made_is_told_and_no_traceback() -> None:
    with pytest.raises(ConfigError, match="cannot be used") as told:
        Client(Path("/proc/there-is-none")).post("/v1/runs", {})
    assert told.value.fix


def test_who_only_looks_makes_no_fleet_where_there_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(FleetDownError) as told:
        Client(tmp_path / "none").get("/v1/runs")
    assert told.value.code == "no_fleet" and "PANCODE_HOME" in told.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_coordinator_that_ends_right_after_its_start_is_followed_by_one_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, learns that another one leads the fleet, and ends; only the next one refuses."""
    started = list[Path]()
    answered = list[str]()

    def start(home: Path, *_: object) -> None:
        started.append(home)

    def connect(connection: Connection) -> None:
        if len(started) < 2:
            raise NotRunningError("no coordinator is running", why="Connection refused")
        answered.append("fenced")

    monkeypatch.setattr("pancode.interfaces.client.client.start_coordinator", start)
    monkeypatch.setattr(Connection, "connect", connect)
    Client(tmp_path).open_connection(1.0)
    assert (len(started), answered) == (2, ["fenced"])


def test_a_failed_start_tells_the_coordinators_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    problem = {"error": {"code": "config", "message": "bad key", "why": "", "fix": "x", "exit_code": 3}}
    log.write_text("old\n" + "2026 INFO x\n" + json.dumps(problem) + "\n")
    error = start_failed(log, 4, 3)
    assert (str(error), error.exit_code) == ("bad key", ExitCode.CONFIG)
    log.write_text("")
    monkeypatch.setattr("os.statvfs", lambda place: SimpleNamespace(f_bavail=0))
    full = start_failed(log, 0, 1)
    assert isinstance(full, ConfigError) and full.fix.startswith("free space on its disk")
    log.write_text("Traceback\nBoom\n")
    other = start_failed(log, 0, 1)
    assert isinstance(other, UnavailableError) and "Boom" in other.why and str(log) in other.fix


def test_what_is_cut_off_is_sent_again_only_with_a_key(tmp_path: Path) -> None:
    with open_socket_path(tmp_path, SOCKET) as place, socket.socket(socket.AF_UNIX) as server:
        Path(place).parent.mkdir(exist_ok=True)
        server.bind(place)
        server.listen()
        asked: list[bytes] = []

        def serve() -> None:
            for answers in (False, True, False, True, False):
                connection, _ = server.accept()
                with connection:
                    data = b""
                    while b"hello" not in data:
                        data += connection.recv(65536)
                    asked.append(data)
                    if answers:
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        client = Client(tmp_path, starts=False)
        assert client.post("/v1/x", {"text": "hello"}, key="k-1") == {}
        assert client.post_work("/v1/x", {"text": "hello"}, lambda under_way: None, key="k-1") == {}
        assert len(asked) == 4 and all(b"Idempotency-Key: k-1\r\n" in one for one in asked)
        with pytest.raises(StreamCutError):
            client.post("/v1/x", {"text": "hello"})
        thread.join(10)
        assert len(asked) == 5 and b"Idempotency-Key" not in asked[4]


def test_a_stream_that_nobody_wants_any_more_ends_at_its_next_line(tmp_path: Path) -> None:
    with open_socket_path(tmp_path, SOCKET) as place, socket.socket(socket.AF_UNIX) as server:
        Path(place).parent.mkdir(exist_ok=True)
        server.bind(place)
        server.listen()
        heard, over, told = threading.Event(), threading.Event(), list[object]()

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(ConnectionResetError):  # it is closed with a line that nobody reads
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 200 OK\r\n\r\nevent: log\ndata: {"a": 1}\n\n')
                heard.wait(60)
                over.set()
                connection.sendall(b": still here\n\n")
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        for event in Client(tmp_path, starts=False).events("GET", "/v1/x", wanted=lambda: not over.is_set()):
            told.append(event.data)
            heard.set()
        thread.join(60)
        assert told == [{"a": 1}] and not thread.is_alive(), "its connection is closed"
