"""A landing that is called off ends before its first write, or is done whole; nothing is left running."""

from __future__ import annotations

import fcntl
import os
import threading

import pytest

from pancode.git.landings import LandingGates, LandReport, LandStatus, Merged
from pancode.landing.service import Landings
from tests.crowd import crowded
from tests.integration.git.coordinator import Trees, everything


def test_before_its_gates_have_passed(coordinator: Trees) -> None:
    request, before = coordinator.result(everything), coordinator.tree()
    asked: list[Merged] = []

    def gates(merged: Merged) -> LandingGates:
        asked.append(merged)
        return LandingGates(True)

    report = coordinator.land(request, gates=gates, called_off=lambda: bool(asked))
    assert report.status is LandStatus.CALLED_OFF and report.tree == str(coordinator.user.path)
    assert coordinator.tree() == before
    assert coordinator.land(request).status is LandStatus.LANDED, "it can be asked for again"


@pytest.mark.parametrize("looks", range(1, 4))
def test_at_every_look(coordinator: Trees, looks: int) -> None:
    """Called off at the first look, the second ...: whole or not at all."""
    request, before, count = coordinator.result(everything), coordinator.tree(), 0

    def called_off() -> bool:
        nonlocal count
        count += 1
        return count >= looks

    report = coordinator.land(request, gates=lambda merged: LandingGates(True), called_off=called_off)
    if report.status is LandStatus.CALLED_OFF:
        assert coordinator.tree() == before and not (coordinator.user.path / ".git/pancode-land").exists()
    else:
        assert looks == 3 and (coordinator.user.path / "new").read_text() == "n\n"


def test_while_it_waits_for_another_one(coordinator: Trees) -> None:
    request, off = coordinator.result(everything), threading.Event()
    handle = os.open(coordinator.user.path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    reports: list[LandReport] = []
    waiting = threading.Thread(
        target=lambda: reports.append(coordinator.land(request, called_off=off.is_set))
    )
    waiting.start()
    off.set()
    waiting.join(10 * crowded())
    os.close(handle)
    assert [report.status for report in reports] == [LandStatus.CALLED_OFF]


def test_what_is_under_way_is_found_by_its_run() -> None:
    landings = Landings()
    assert landings.call_off("r-1", 1) == []
    begun, ended = threading.Event(), threading.Event()

    def land() -> None:
        with landings.of("r-1") as landing:
            begun.set()
            landing.off.wait(10 * crowded())
            landing.ended = {"status": "called off"}
        ended.set()

    threading.Thread(target=land).start()
    begun.wait(10 * crowded())
    assert landings.call_off("r-2", 1) == []
    assert landings.call_off("r-1", 10) == [{"status": "called off"}]
    assert ended.wait(10 * crowded()) and landings.call_off("r-1", 1) == []


def test_one_that_does_not_end_in_time_or_fails_is_told_as_such() -> None:
    landings = Landings()
    with landings.of("r-1"):
        assert landings.call_off("r-1", 0.01) == [{"status": "under way"}]
    told: list[object] = []
    asking = threading.Thread(target=lambda: told.extend(landings.call_off("r-1", 10)))
    with pytest.raises(ValueError), landings.of("r-1") as landing:
        asking.start()
        landing.off.wait(10 * crowded())
        raise ValueError
    asking.join(10 * crowded())
    assert told == [{"status": "failed"}]
