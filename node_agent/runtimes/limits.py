"""When the limit of a login ends, as the output of an agent program tells it. Pure.

Seen live: Claude Code 2.1.328 writes the moment into a `rate_limit_event`, Codex 0.169.0 the time of the
node's own clock into its words, and nothing else of it. Gemini CLI 0.61.0 and Copilot CLI 1.0.102 hand on the
words of the server, which may name a time to wait. OpenCode 1.18.33 waits by itself.
With a key, the gateway reads what the server asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from node_agent.runtimes.lines import count_of

LONGEST_MS = 8 * 86_400_000
"""The longest plausible wait: a window lasts a week at most, so a later time is a mistake, or a lie."""
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[smhd])")
_DELAY = re.compile(rf"\b(?:retry|try again|resets?) (?:after|in) ((?:{_PART.pattern} ?)+)", re.IGNORECASE)
SHORT_MS = 60_000
"""What is over sooner is no window of a login: it is tried again as any busy server is."""
_CLOCK = re.compile(
    rf"\btry again at (?:({'|'.join(_MONTHS)}) (\d{{1,2}})(?:st|nd|rd|th), (\d{{4}}) )?"
    r"(\d{1,2}):(\d{2}) (AM|PM)\b"
)


@dataclass(frozen=True, slots=True)
class LimitReset:
    """`at_ms`: of the Unix clock; or `after_ms`: so long after it was said. Else a time of the node's own
    clock: `hour`, `minute`, and `day`, as (year, month, day); without one it is the next such time.
    """

    at_ms: int | None = None
    hour: int = 0
    minute: int = 0
    day: tuple[int, int, int] | None = None
    after_ms: int = 0


def rejected_until(info: Mapping[str, Any]) -> LimitReset | None:
    """The end in Claude's `rate_limit_info`; None where that only reports a window that fills up."""
    at_s = count_of(info.get("resetsAt"))
    return LimitReset(1000 * at_s) if at_s and info.get("status") == "rejected" else None


def clock_in(words: str) -> LimitReset | None:
    """The time that Codex's words name; None: they name none."""
    found = _CLOCK.search(words)
    if found is None:
        return None
    month, day, year, hour, minute, half = found.groups()
    date = (int(year), _MONTHS.index(month) + 1, int(day)) if month else None
    return LimitReset(None, int(hour) % 12 + (12 if half == "PM" else 0), int(minute), date)


def delay_in(words: str) -> LimitReset | None:
    """The time to wait that a server's words name, as `try again in 1h30m`; None: none, or a short one."""
    found = _DELAY.search(words)
    parts = _PART.findall(found[1]) if found is not None else []
    after_ms = int(sum(float(number) * _UNITS[unit] for number, unit in parts))
    return LimitReset(after_ms=after_ms) if after_ms >= SHORT_MS else None


def pause_ms(
    reset: LimitReset | None,
    now_ms: int,
    local: Callable[[float], datetime] = datetime.fromtimestamp,
) -> int:
    """Return the milliseconds from now until the reset; 0 if it is not known, past, or too far away.

    `local`: gives the time of the node's clock for seconds of Unix time.
    """
    if reset is None:
        return 0
    if reset.after_ms:
        return reset.after_ms if reset.after_ms <= LONGEST_MS else 0
    try:
        at_ms = _at_ms(reset, local(now_ms / 1000)) if reset.at_ms is None else reset.at_ms
    except (ValueError, OverflowError):  # no day of any calendar
        return 0
    return at_ms - now_ms if 0 < at_ms - now_ms <= LONGEST_MS else 0


def _at_ms(reset: LimitReset, now: datetime) -> int:
    shown = now.replace(hour=reset.hour, minute=reset.minute, second=0, microsecond=0)
    if reset.day is not None:
        year, month, day = reset.day
        shown = shown.replace(year=year, month=month, day=day)
    elif shown <= now:
        shown += timedelta(days=1)
    return int(shown.timestamp() * 1000)
