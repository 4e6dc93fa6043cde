"""What a schedule fires: on time, after sleep, with clocks that jump, beside a run that has not ended."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.kernel.values import replace
from pancode.schedules.model import AtTime, dump_trigger
from pancode.schedules.records import Firing, FiringState, Schedule
from pancode.schedules.rules import MOST_MISSED, ScheduleView, decide, too_deep
from pancode.schedules.times import format_minute

HOUR, MINUTE = 3_600_000, 60_000
START = 1_795_305_600_000  # a full hour
HOURLY: dict[str, object] = {"kind": "cron", "cron": "0 * * * *", "zone": "UTC"}
S, W, X = FiringState.STARTING, FiringState.WAITING, FiringState.SKIPPED


def a_schedule(**more: Any) -> Schedule:
    known: dict[str, Any] = {"trigger": HOURLY, "work": {}, "seen_ms": START + 1, **more}
    return Schedule("nightly", START, "ana", **known)


def seen(schedule: Schedule, now: int, **more: Any) -> list[tuple[str, FiringState]]:
    made = decide(ScheduleView(schedule, now, **more))
    assert made.schedule.seen_ms == now
    return [(one.key, one.state) for one in made.firings]


def key(hours: int) -> str:
    return format_minute(START + hours * HOUR)


@pytest.mark.parametrize(
    ("missed", "now", "fires"),
    [
        ("once", HOUR - 1, []),
        ("once", HOUR, [(1, S)]),
        ("once", HOUR + MINUTE, [(1, S)]),
        ("once", HOUR + 10 * MINUTE, [(1, S)]),
        ("once", 5 * HOUR + 10 * MINUTE, [(5, S)]),
        ("once", 5 * HOUR, [(4, X), (5, S)]),
        ("none", 5 * HOUR + 10 * MINUTE, [(5, X)]),
        ("none", 5 * HOUR, [(4, X), (5, S)]),
        ("all", 3 * HOUR + 10 * MINUTE, [(1, S), (2, W), (3, W)]),
    ],
)
def test_what_was_missed_while_asleep(missed: str, now: int, fires: list[tuple[int, FiringState]]) -> None:
    assert seen(a_schedule(missed=missed), START + now) == [(key(h), state) for h, state in fires]


def test_missed_times_are_bounded() -> None:
    assert len(seen(a_schedule(missed="all"), START + 1_000 * HOUR)) == MOST_MISSED


def test_a_clock_that_is_set_back_fires_nothing_twice() -> None:
    schedule = a_schedule(seen_ms=START + 2 * HOUR)
    back = decide(ScheduleView(schedule, START + MINUTE, fired={key(1), key(2)}))
    assert back.firings == () and back.schedule.next_ms == START + HOUR
    assert seen(back.schedule, START + HOUR, fired={key(1), key(2)}) == []
    assert seen(replace(back.schedule, seen_ms=START + 2 * HOUR), START + 3 * HOUR) == [(key(3), S)]


def test_never_two_at_once_unless_asked() -> None:
    now = START + HOUR
    assert seen(a_schedule(), now, running="r-1") == [(key(1), X)]
    assert seen(a_schedule(overlap=True), now, running="r-1") == [(key(1), S)]
    starting = Firing("nightly", "k", START, S, run="r-1")
    assert seen(a_schedule(), now, open=(starting,)) == [(key(1), X)]
    (skipped,) = decide(ScheduleView(a_schedule(), now, running="r-1")).firings
    assert "r-1 has not ended" in skipped.reason and "--overlap" in skipped.reason


def test_made_up_times_take_their_turns() -> None:
    late = tuple(Firing("nightly", key(h), START + h * HOUR, late=True) for h in (1, 2))
    now = START + 2 * HOUR + 10 * MINUTE
    schedule = a_schedule(missed="all", seen_ms=now)
    assert seen(schedule, now, open=late, running="r-1") == []
    assert seen(schedule, now, open=late) == [(key(1), S)]


def test_a_paused_schedule_fires_for_a_user_only() -> None:
    paused = a_schedule(paused="release freeze")
    assert seen(paused, START + 5 * HOUR) == []
    event, person = Firing("nightly", "event:7", START), Firing("nightly", "hand", START, cause={"by": "ana"})
    assert seen(paused, START, called=(event, person)) == [("hand", S)]


def test_once_at_a_time() -> None:
    at = a_schedule(trigger=dump_trigger(AtTime(START + HOUR, "UTC")))
    assert decide(ScheduleView(at, START + 1)).schedule.next_ms == START + HOUR
    made = decide(ScheduleView(at, START + 9 * HOUR))
    assert [(one.state, one.late) for one in made.firings] == [(S, True)] and made.schedule.next_ms is None
    assert seen(replace(at, missed="none"), START + 9 * HOUR) == [(key(1), X)]
    assert seen(made.schedule, START + 10 * HOUR) == []


def test_events_of_its_own_do_not_fire_it() -> None:
    assert too_deep("a", 1, set()) is None and too_deep("a", 3, {"b", "c"}) is None
    assert too_deep("a", 1, {"a"}) == "a run of this schedule caused the event"
    assert too_deep("a", 4, {"b", "c"}) is not None
