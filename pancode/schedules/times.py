"""Parses cron expressions and times of day in a zone, and computes the times at which they fire. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice

from cronsim import CronSim, CronSimError

from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import zone_of

WORDS: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
"""Names that users may write instead of five cron fields; `@annually` and `@reboot` are not supported."""
FIELDS = 5
_LONGEST = 200
_LOCAL = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{1,2}:\d{2})(?::\d{2})?")
_TODAY = re.compile(r"\d{1,2}:\d{2}")
_EXAMPLE = "as in '30 2 * * 1-5' (02:30 on weekdays), or @daily"


@dataclass(frozen=True, slots=True)
class CronTimes:
    """The times of a cron expression: five fields and a zone."""

    fields: str
    zone: str

    @staticmethod
    def read(words: str, zone: str, now_ms: int) -> CronTimes:
        """Parse a cron expression. UsageError if it is invalid or never matches a time."""
        text = " ".join(words.split())
        fields = WORDS.get(text.lower(), text)
        if text.startswith("@") and fields == text:
            raise _make_format_error(text, f"use one of {', '.join(WORDS)}")
        if len(fields.split()) != FIELDS or len(fields) > _LONGEST:
            raise _make_format_error(text, f"it has {len(fields.split())} fields instead of {FIELDS}")
        made = CronTimes(fields, zone)
        try:
            CronSim(fields, _to_local_time(now_ms, zone_of(zone)))
        except CronSimError as exc:
            if _fits_another_month(fields):
                raise _make_never_error(text, "none of the months in the expression has such a day") from exc
            raise _make_format_error(text, str(exc).replace("Bad ", "invalid ")) from exc
        if made.after(now_ms) is None:
            raise _make_never_error(text, "no day of the next fifty years matches the expression")
        return made

    def after(self, ms: int) -> int | None:
        """Return the expression's first time after this moment, or None."""
        return next(iter(self.next(ms, 1)), None)

    def next(self, ms: int, count: int) -> list[int]:
        """Return the next `count` times, earliest first."""
        times = CronSim(self.fields, _to_local_time(ms, zone_of(self.zone)))
        return [_to_ms(one) for one in islice(times, count)]

    def between(self, after_ms: int, until_ms: int, most: int) -> list[int]:
        """Return the newest `most` times after `after_ms` and up to `until_ms`."""
        found: list[int] = []
        start = _to_local_time(until_ms + 60_000, zone_of(self.zone))
        for one in CronSim(self.fields, start, reverse=True):
            ms = _to_ms(one)
            if ms <= after_ms or len(found) == most:
                break
            if ms <= until_ms:
                found.append(ms)
        return found[::-1]

    def words(self) -> str:
        """Return the expression in English, such as `At 02:30 on Monday through Friday`."""
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return str(CronSim(self.fields, start).explain())


def read_at(words: str, zone: str, now_ms: int) -> int:
    """Parse a moment, such as `2026-12-24 08:00` or `08:00` in the zone, or with a UTC offset. UsageError if
    invalid, past, or skipped by the clocks; a time that the clocks repeat means its first occurrence."""
    text, tz = words.strip(), zone_of(zone)
    now = _to_local_time(now_ms, tz)
    if _TODAY.fullmatch(text):
        day = now.date()
        found = _in_zone(f"{day:%Y-%m-%d} {text}", tz, words)
        ms = _to_ms(found)
        return (
            ms if ms > now_ms else _to_ms(_in_zone(f"{day + timedelta(days=1):%Y-%m-%d} {text}", tz, words))
        )
    ms = _to_ms(_in_zone(text, tz, words) if _LOCAL.fullmatch(text) else _with_offset(text, words))
    if ms <= now_ms:
        raise UsageError(
            f"{words!r} never fires: it is in the past",
            why=f"the current time is {format_time(now_ms, zone)}",
            fix="give a time in the future, such as 2026-12-24 08:00",
            code="never_fires",
        )
    return ms


def format_time(ms: int, zone: str) -> str:
    """Return a moment in a zone for users: `Mon 2026-11-23 02:30 +01:00`."""
    at = _to_local_time(ms, zone_of(zone))
    offset = at.strftime("%z")
    return f"{at:%a %Y-%m-%d %H:%M} {offset[:3]}:{offset[3:5]}"


def format_minute(ms: int) -> str:
    """Return the key of a firing: the minute in UTC, which is unique even when clocks are set back."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%MZ}"


def _in_zone(text: str, tz: tzinfo, words: str) -> datetime:
    try:
        naive = datetime.fromisoformat(text.replace("T", " ")).replace(tzinfo=tz)
    except ValueError as exc:
        found = _LOCAL.fullmatch(text)
        if found is None or len(found[2]) > 4:  # Accepts 8:00, as users omit the leading zero.
            raise _no_time(words) from exc
        return _in_zone(f"{found[1]} 0{found[2]}", tz, words)
    if naive.astimezone(UTC).astimezone(tz).replace(tzinfo=None) != naive.replace(tzinfo=None):
        raise UsageError(
            f"{words!r} does not exist in {tz}",
            why="the clocks skip it when they go forward",
            fix="give a time before or after that hour",
            code="never_fires",
        )
    return naive


def _with_offset(text: str, words: str) -> datetime:
    try:
        made = datetime.fromisoformat(text)
    except ValueError as exc:
        raise _no_time(words) from exc
    if made.tzinfo is None:
        raise _no_time(words, "the hour is missing")
    return made


def _to_local_time(ms: int, tz: tzinfo) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(tz)


def _to_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _fits_another_month(fields: str) -> bool:
    """Whether the expression matches no time only because of its month, as in `0 0 31 2 *`."""
    minute, hour, day, _, weekday = fields.split()
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


def _make_never_error(words: str, why: str) -> UsageError:
    fix = "check its day, month and day of week"
    return UsageError(f"{words!r} can never fire", why=why, fix=fix, code="never_fires")


def _make_format_error(words: str, why: str) -> UsageError:
    return UsageError(f"{words[:80]!r} is not a cron expression", why=why, fix=_EXAMPLE, code="bad_cron")


def _no_time(words: str, why: str = "") -> UsageError:
    fix = "2026-12-24 08:00, 08:00, or 2026-12-24T08:00+01:00"
    return UsageError(f"{words[:80]!r} is not a time", why=why, fix=fix, code="bad_time")
