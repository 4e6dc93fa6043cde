"""How long the coordinator rests between two rounds, and what it tells of one that fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pancode.app.server import coordinator_thread
from pancode.app.server.coordinator_thread import BUSY_MS, GATHER_MS, LISTEN_MS, Passes, pause_ms
from pancode.kernel.errors import UnavailableError
from tests.unit.pancode.runs.world import Desk


@pytest.mark.parametrize(
    ("heard", "listened_ms", "ended_ms", "due"),
    [
        (True, 0, 0, GATHER_MS),
        (True, 0, BUSY_MS, 0),
        (False, LISTEN_MS, LISTEN_MS, 0),
        (False, 0, 0, LISTEN_MS),
        (False, LISTEN_MS - 5, LISTEN_MS, 5),
    ],
    ids=["a crowd", "a word after a pause", "silence", "nobody to listen to", "nearly the whole time"],
)
def test_a_round_follows_a_word_or_a_wait(heard: bool, listened_ms: int, ended_ms: int, due: int) -> None:
    assert pause_ms(heard, listened_ms, LISTEN_MS, ended_ms) == due


def test_a_trouble_is_told_once_and_shown_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(coordinator_thread, "BACK_OFF_S", (0,))
    refused = [UnavailableError("Redis refuses our password.", why="w", fix="f") for _ in range(3)]
    rounds: Iterator[Exception | None] = iter([*refused, None, refused[0], None])
    shown: list[object] = []

    def a_round(_: Passes) -> None:
        shown.append(context.trouble.now)
        if (error := next(rounds)) is not None:
            raise error

    monkeypatch.setattr(Passes, "_run_pass", a_round)
    held = iter([True] * 6)
    context: Any = SimpleNamespace(
        core=Desk().core,
        trouble=SimpleNamespace(now=None),
        coordinator=SimpleNamespace(repair=lambda failed: []),
        shutdown=lambda why: None,
    )
    with caplog.at_level(logging.INFO, "pancode.rounds"):
        Passes(context, lambda: next(held, False))._run_passes()
    assert shown == [None, *refused, None, refused[0]]
    begun = [line.getMessage().partition(".")[0] for line in caplog.records]
    trouble, over = "Redis refuses our password", "working again, after: Redis refuses our password"
    assert begun[:4] == [trouble, over, trouble, over]


def test_a_held_coordinator_makes_no_pass_and_repairs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator_thread, "HELD_LOOK_S", 0)
    monkeypatch.setattr(coordinator_thread, "LOOK_MS", 0)
    acts: list[str] = []

    def makes_a_pass(*_: object) -> int:
        acts.append("pass")
        return 0

    monkeypatch.setattr(coordinator_thread, "run_pass", makes_a_pass)
    monkeypatch.setattr(coordinator_thread, "wait_for_messages", lambda *_: True)
    coordinator = SimpleNamespace(held="why", repair=lambda failed: acts.append("repair"))
    context: Any = SimpleNamespace(
        core=Desk().core, coordinator=coordinator, bell=SimpleNamespace(ring=lambda: None)
    )
    Passes(context)._run_pass()
    assert acts == []
    coordinator.held = None
    Passes(context)._run_pass()
    assert acts == ["repair", "pass"]
