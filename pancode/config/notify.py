"""Decides which channels get a notice, and whether quiet hours delay it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from pancode.kernel.formatting import zone_of

NoticeKind = Literal["waits", "ended_badly", "ended_well", "budget", "node_lost", "trust_broken"]
USUAL: tuple[NoticeKind, ...] = ("waits", "ended_badly", "budget", "node_lost", "trust_broken")


@dataclass(frozen=True, slots=True)
class NoticeRoute:
    """A rule for which notices go where. `to`: names of channels; in the other fields, empty means all."""

    to: tuple[str, ...]
    kinds: tuple[str, ...] = USUAL
    agents: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()

    def takes(self, kind: str, facts: Mapping[str, str]) -> bool:
        """Whether the rule applies to a notice of this kind with these facts."""
        repo = facts.get("repo", "")
        return (
            kind in self.kinds
            and (not self.agents or facts.get("agent") in self.agents)
            and (not self.nodes or facts.get("node") in self.nodes)
            and (not self.repositories or {repo, repo.rpartition("/")[2]} & set(self.repositories) != set())
        )


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Quiet hours in minutes of the day in a time zone; they may span midnight."""

    begin: int
    end: int
    zone: str

    def until_ms(self, now_ms: int) -> int | None:
        """Return when the quiet hours end; None outside of them."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone_of(self.zone))
        minute = now.hour * 60 + now.minute
        over_midnight = self.begin > self.end
        inside = (
            (minute >= self.begin or minute < self.end)
            if over_midnight
            else (self.begin <= minute < self.end)
        )
        if not inside:
            return None
        day = now.date() + timedelta(days=1 if over_midnight and minute >= self.begin else 0)
        end = datetime(day.year, day.month, day.day, self.end // 60, self.end % 60, tzinfo=now.tzinfo)
        return round(end.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class NotifyRules:
    """The settings of notices. `channels`: the secret that contains a channel's address, by channel."""

    channels: Mapping[str, str] = field(default_factory=dict)
    routes: tuple[NoticeRoute, ...] = ()
    quiet: QuietHours | None = None
    urgent: tuple[str, ...] = ()
    console: str | None = None
    answers: bool = False
    """Whether notices of questions contain a link to answer them."""

    def channels_for(self, kind: str, facts: Mapping[str, str]) -> tuple[str, ...]:
        """Return the channels for the notice, without duplicates and unknown ones."""
        wanted = (name for route in self.routes if route.takes(kind, facts) for name in route.to)
        return tuple(dict.fromkeys(name for name in wanted if name in self.channels))

    def due_ms(self, kind: str, now_ms: int) -> int:
        """Return when the notice may be sent: now, or at the end of the quiet hours."""
        until = None if self.quiet is None or kind in self.urgent else self.quiet.until_ms(now_ms)
        return now_ms if until is None else until

    def unknown_channels(self) -> tuple[str, ...]:
        """Return the channels that rules name but the settings do not define."""
        return tuple(dict.fromkeys(n for route in self.routes for n in route.to if n not in self.channels))
