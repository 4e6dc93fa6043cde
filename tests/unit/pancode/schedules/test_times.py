"""Cron words and times of day: summer time, words that never fire."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pancode.kernel.errors import UsageError
from pancode.schedules.times import CronTimes, format_minute, format_time, read_at

BERLIN = "Europe/Berlin"


def ms(text: str, zone: str = BERLIN) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("words", "after", "next_"),
    [
        ("30 2 * * *", "2027-03-27 12:00", ["Sun 2027-03-28 03:00 +02:00", "Mon 2027-03-29 02:30 +02:00"]),
        ("30 2 * * *", "2026-10-24 12:00", ["Sun 2026-10-25 02:30 +02:00", "Mon 2026-10-26 02:30 +01:00"]),
        ("@daily", "2026-11-22 12:00", ["Mon 2026-11-23 00:00 +01:00", "Tue 2026-11-24 00:00 +01:00"]),
        ("0 12 15 * MON", "2026-11-22 12:00", ["Mon 2026-11-23 12:00 +01:00", "Mon 2026-11-30 12:00 +01:00"]),
        ("0 0 29 2 *", "2026-11-22 12:00", ["Tue 2028-02-29 00:00 +01:00", "Sun 2032-02-29 00:00 +01:00"]),
    ],
)
def test_next_times(words: str, after: str, next_: list[str]) -> None:
    times = CronTimes.read(words, BERLIN, ms(after))
    assert [format_time(one, BERLIN) for one in times.next(ms(after), 2)] == next_


def test_a_repeated_hour_has_each_half_hour_once() -> None:
    times = CronTimes.read("*/30 * * * *", BERLIN, ms("2026-10-25 00:00"))
    found = times.next(ms("2026-10-25 01:30"), 5)
    assert [format_time(one, BERLIN)[15:] for one in found] == [
        *("02:00 +02:00", "02:30 +02:00", "02:00 +01:00", "02:30 +01:00", "03:00 +01:00")
    ]
    assert len({format_minute(one) for one in found}) == 5


def test_times_between_two_moments_are_the_newest() -> None:
    times = CronTimes.read("0 * * * *", "UTC", 0)
    hour = 3_600_000
    assert times.between(0, 5 * hour, 100) == [hour, 2 * hour, 3 * hour, 4 * hour, 5 * hour]
    assert times.between(0, 5 * hour, 2) == [4 * hour, 5 * hour]
    assert times.between(5 * hour, 5 * hour + 1, 100) == []


@pytest.mark.parametrize("back", range(0, 3 * 3600, 900))
def test_looking_back_finds_what_looking_forward_finds(back: int) -> None:
    times = CronTimes.read("*/15 * * * *", BERLIN, 0)
    start = ms("2026-10-25 04:00") - back * 1000
    end = ms("2026-10-25 04:00")
    forward = [one for one in times.next(start, 40) if one <= end]
    assert times.between(start, end, 100) == forward


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("0 0 31 2 *", "never_fires"),
        ("* * * *", "bad_cron"),
        ("* * * * * *", "bad_cron"),
        ("@reboot", "bad_cron"),
        ("61 * * * *", "bad_cron"),
        ("", "bad_cron"),
        ("0 0 31 2,4,6 *", "never_fires"),
    ],
)
def test_what_cannot_fire_is_refused(words: str, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        CronTimes.read(words, BERLIN, ms("2026-11-22 12:00"))
    assert refused.value.code == code and refused.value.fix


@pytest.mark.parametrize(
    ("said", "is_"),
    [
        ("2026-12-24 08:00", "Thu 2026-12-24 08:00 +01:00"),
        ("2026-12-24 8:00", "Thu 2026-12-24 08:00 +01:00"),
        ("2026-12-24T08:00+03:00", "Thu 2026-12-24 06:00 +01:00"),
        ("13:00", "Sun 2026-11-22 13:00 +01:00"),
        ("11:00", "Mon 2026-11-23 11:00 +01:00"),
        ("2027-10-31 02:30", "Sun 2027-10-31 02:30 +02:00"),
    ],
)
def test_a_time_of_day(said: str, is_: str) -> None:
    assert format_time(read_at(said, BERLIN, ms("2026-11-22 12:00")), BERLIN) == is_


@pytest.mark.parametrize(
    "said", ["2026-11-22 11:59", "2027-03-28 02:30", "soon", "2026-13-01 08:00", "2026-12-24", "25:00"]
)
def test_a_time_that_cannot_come_is_refused(said: str) -> None:
    with pytest.raises(UsageError):
        read_at(said, BERLIN, ms("2026-11-22 12:00"))


def test_an_unknown_zone_is_refused() -> None:
    for zone in ("Europe/Nowhere", "../../etc/passwd", ""):
        with pytest.raises(UsageError):
            CronTimes.read("@daily", zone, 0)


def test_words() -> None:
    assert CronTimes("30 2 * * 1-5", BERLIN).words() == "At 02:30 on Monday through Friday"
