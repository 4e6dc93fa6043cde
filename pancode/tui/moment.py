"""Writes times as a person reads them: the clock on the wall, and how long ago."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pancode.plain import took


@dataclass(frozen=True, slots=True)
class PageMoment:
    """The moment for which a page is made; it carries the zone of the person."""

    now: datetime

    @classmethod
    def of(cls, wall_ms: int) -> PageMoment:
        return cls(datetime.fromtimestamp(wall_ms / 1000).astimezone())

    def at(self, iso: str | None) -> str:
        """`08:20:24` today, `11-20 08:20` on another day, `-` for None."""
        if iso is None:
            return "-"
        then = datetime.fromisoformat(iso).astimezone(self.now.tzinfo)
        return then.strftime("%H:%M:%S" if then.date() == self.now.date() else "%m-%d %H:%M")

    def since_s(self, iso: str | None) -> float | None:
        """Seconds from then until now, never below 0; None for None."""
        if iso is None:
            return None
        return max(0.0, (self.now - datetime.fromisoformat(iso)).total_seconds())

    def ago(self, iso: str | None) -> str:
        seconds = self.since_s(iso)
        return "-" if seconds is None else span(seconds)

    def between(self, begin: str | None, end: str | None) -> str:
        """How long it took, or has taken until now."""
        if begin is None:
            return "-"
        if end is None:
            return self.ago(begin)
        return span((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())


def span(seconds: float) -> str:
    """As `took`, in whole seconds, because a page is drawn each second."""
    return took(int(seconds))
