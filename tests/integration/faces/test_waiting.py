"""A command waits while the coordinator is at work, and tells its silence apart from its end."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pancode.interfaces.client import client
from pancode.interfaces.client.client import Client, SilentError, StreamCutError
from pancode.kernel.errors import ApiError
from tests.integration.faces.listening import Listening

NOW = {"snapshots": [{"run": "r-1", "project": "/p", "done": 40_000, "of": 100_000}]}


def _answer(data: object) -> bytes:
    body = json.dumps(data).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


class Busy(Listening):
    """Works on a change until it was asked `looks` times; then answers it, or hangs up on it."""

    def __init__(self, home: Path, looks: int, ends: bool = False, speaks: bool = True) -> None:
        self._left, self._ends, self._speaks = looks, ends, speaks
        self._open: list[socket.socket] = []
        super().__init__(home)

    def _heard(self, peer: socket.socket, said: list[bytes]) -> None:
        self._open.append(peer)
        self.asked.append(b" ".join(said[:2]))
        if said[0] == b"GET" and self._speaks:
            self._look(peer)

    def _look(self, peer: socket.socket) -> None:
        peer.sendall(_answer(NOW))
        self._left -= 1
        if self._left == 0 and self._ends:
            self._open[0].close()
        elif self._left == 0:
            self._open[0].sendall(_answer({"run": "r-1"}))

    def end(self) -> None:
        super().end()
        for peer in self._open:
            peer.close()


@pytest.fixture
def busy(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Busy]:
    busy = Busy(tmp_path, **request.param)
    yield busy
    busy.end()


def _post(home: Path, told: list[Any], wait_s: float = 0.4) -> Any:
    return Client(home, starts=False).post_work("/v1/runs", {}, told.append, wait_s)


@pytest.mark.parametrize("busy", [{"looks": 8}], indirect=True)
def test_who_is_at_work_is_waited_for(busy: Busy, tmp_path: Path) -> None:
    told: list[Any] = []
    assert _post(tmp_path, told) == {"run": "r-1"}
    assert told and all(seen == NOW for seen in told)
    assert busy.asked.count(b"POST /v1/runs") == 1


@pytest.mark.parametrize("busy", [{"looks": 2, "ends": True}], indirect=True)
def test_one_that_ends_went_away(busy: Busy, tmp_path: Path) -> None:
    with pytest.raises(StreamCutError, match="connection to the coordinator was lost") as told:
        _post(tmp_path, [])
    assert not isinstance(told.value, SilentError)


@pytest.mark.parametrize("busy", [{"looks": 1, "speaks": False}], indirect=True)
def test_one_that_says_nothing_did_not_answer_in_time(busy: Busy, tmp_path: Path) -> None:
    with pytest.raises(SilentError, match=f"pid {os.getpid()}") as told:
        _post(tmp_path, [])
    assert told.value.code == "no_answer"
    assert busy.asked.count(b"POST /v1/runs") == 1


@pytest.mark.parametrize("busy", [{"looks": 1, "speaks": False}], indirect=True)
def test_so_it_is_with_a_change_of_bounded_time(busy: Busy, tmp_path: Path) -> None:
    with pytest.raises(SilentError, match=f"pid {os.getpid()}"):
        Client(tmp_path, starts=False).post("/v1/runs", {}, 0.2)
    assert not issubclass(SilentError, ApiError)


@pytest.mark.parametrize("busy", [{"looks": 99, "speaks": False}], indirect=True)
def test_who_asks_one_that_answers_nobody_is_told_whom_to_end(
    busy: Busy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a coordinator that stands still (SIGSTOP): one question, one note, one bounded wait."""
    monkeypatch.setattr(client, "LOOK_S", 0.05)
    monkeypatch.setattr(client, "NOTE_S", 0.1)
    monkeypatch.setattr(client, "SILENT_S", 0.4)
    notes: list[str] = []
    with pytest.raises(SilentError) as told:
        Client(tmp_path, starts=False, note=notes.append).get("/v1/runs")
    assert notes == [f"waiting for the coordinator, pid {os.getpid()}"]
    assert told.value.exit_code == 6 and f"kill {os.getpid()}" in told.value.fix
    assert busy.asked.count(b"GET /v1/runs") == 1


@pytest.mark.parametrize("busy", [{"looks": 8}], indirect=True)
def test_who_is_slow_and_answers_others_is_waited_for_in_silence(
    busy: Busy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LOOK_S", 0.05)
    monkeypatch.setattr(client, "NOTE_S", 0.1)
    notes: list[str] = []
    assert Client(tmp_path, starts=False, note=notes.append).post("/v1/runs") == {"run": "r-1"}
    assert notes == []
