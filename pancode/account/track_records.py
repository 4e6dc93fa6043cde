"""Decides how well an agent does its work, out of what verified receipts say, and whom to try next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from math import sqrt

from node_agent.wire.failure import Outcome
from pancode.agents import agentchoice
from pancode.agents.expected import EXPLORE
from pancode.core import books
from pancode.core.records import EndedRun

_Z = 1.96
"""The z value of a 95 % confidence interval."""
KIND_OF_AGENT: Mapping[str, str] = {
    "plan-reviewer": "review",
    "red-team": "attack",
    "reviewer": "review",
    "planner": "plan",
    "documenter": "docs",
    "scout": "look",
}
CHANGE = "change"


@dataclass(frozen=True, slots=True)
class WorkKey:
    """The key of a record: agent, model, runtime, kind of work, repository, node."""

    agent: str
    model: str | None
    runtime: str
    kind: str
    repository: str | None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """Of `runs` runs `good` went well; `landed` changes stand, `reverted` ones were taken back.

    `unknown` costs are not in `usd`. `paid`: so many runs have cost money, all of it known.
    """

    runs: int = 0
    good: int = 0
    landed: int = 0
    usd: Decimal = books.ZERO
    unknown: int = 0
    ms: int = 0
    reverted: int = 0
    tokens: int = 0
    agent_ms: int = 0
    paid: int = 0

    def __add__(self, more: TrackRecord) -> TrackRecord:
        return TrackRecord(
            self.runs + more.runs,
            self.good + more.good,
            self.landed + more.landed,
            books.plus(self.usd, more.usd),
            self.unknown + more.unknown,
            self.ms + more.ms,
            self.reverted + more.reverted,
            self.tokens + more.tokens,
            self.agent_ms + more.agent_ms,
            self.paid + more.paid,
        )

    def __neg__(self) -> TrackRecord:
        """To take it out of a sum again."""
        return TrackRecord(**{one.name: -getattr(self, one.name) for one in fields(self)})

    @property
    def rate(self) -> float:
        """Smoothed: one good and one bad run are added, so that little evidence says little."""
        return (self.good + 1) / (self.runs + 2)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the true rate; everything is possible where nothing was tried."""
        if not self.runs:
            return 0.0, 1.0
        n, share, square = self.runs, self.good / self.runs, _Z * _Z
        middle = (share + square / (2 * n)) / (1 + square / n)
        half = _Z * sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def words(self) -> str:
        """The numbers that decide, for `pancode why`."""
        low, high = self.interval
        return f"{self.good} of {self.runs} went well, rate {self.rate:.2f} ({low:.2f} to {high:.2f})"


def kind_of(task: str) -> str:
    """The kind of a task, by how it begins."""
    name = agentchoice.beginning_of(task)
    return CHANGE if name is None else KIND_OF_AGENT[name]


def record_of(row: EndedRun) -> TrackRecord | None:
    """What an ended run says of its agent; None: nothing. A change that was reverted is no good one."""
    if not row.counts:
        return None
    good = int(row.outcome is Outcome.DONE and not row.reverted)
    landed, reverted = int(row.landed and not row.reverted), int(row.reverted)
    paid = int(row.usd > 0 and not row.unknown)
    return TrackRecord(
        1, good, landed, row.usd, int(row.unknown), row.ms, reverted, row.tokens, row.agent_ms, paid
    )


def key_of(row: EndedRun) -> WorkKey:
    return WorkKey(row.agent, row.model, row.runtime, row.kind, row.repository, row.node)


def summed(records: Iterable[tuple[WorkKey, TrackRecord]]) -> dict[WorkKey, TrackRecord]:
    """By key."""
    sums: dict[WorkKey, TrackRecord] = {}
    for key, record in records:
        sums[key] = sums.get(key, TrackRecord()) + record
    return sums


def choose(
    names: Sequence[str], records: Mapping[str, TrackRecord], draw: float, explore: float = EXPLORE
) -> tuple[str, str]:
    """One of these, and why. `draw`: a number from 0 to 1, below `explore` it is who was tried least.

    Otherwise it is who has the best smoothed rate; between equals the one with fewer runs, then by name.
    """
    known = {name: records.get(name, TrackRecord()) for name in names}
    least = min(names, key=lambda name: (known[name].runs, name))
    if draw < explore:
        return least, f"tried least: {known[least].words}"
    best = max(names, key=lambda name: (known[name].rate, -known[name].runs))
    return best, f"best record: {known[best].words}"
