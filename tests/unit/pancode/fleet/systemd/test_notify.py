"""When a manager is told that we get on: all parts have, and not more often than it wants to know."""

from __future__ import annotations

import os

import pytest

from pancode.fleet.systemd.notify import Watched, read_watchdog


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def wall_ms(self) -> int:
        return self.ms

    def boot_ms(self) -> int:
        return self.ms

    def mono_ms(self) -> int:
        return self.ms


def test_one_part_that_stands_still_is_enough_for_silence() -> None:
    said: list[str] = []
    clock = Hand()
    watch = Watched(said.append, 100, clock, frozenset({"a", "b"}))
    for _ in range(10):
        watch.heartbeat("a")
        clock.ms += 100
    assert said == []
    watch.heartbeat("b")
    watch.heartbeat("a")
    watch.heartbeat("b")
    assert said == ["WATCHDOG=1"], "again only when the time has come"
    clock.ms += 100
    watch.heartbeat("b")
    assert said == ["WATCHDOG=1"] * 2, "both have got on since"
    clock.ms += 100
    watch.heartbeat("b")
    assert said == ["WATCHDOG=1"] * 2


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid() + 1)},
    ],
)
def test_what_was_not_asked_for_is_not_told_and_no_child_hears_of_it(environ: dict[str, str]) -> None:
    watch = read_watchdog(environ, Hand(), frozenset())
    watch.ready()
    watch.heartbeat("a")
    watch.stopping()
    assert environ == {}
