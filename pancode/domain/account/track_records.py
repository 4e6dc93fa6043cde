"""Decides how well an agent does its work, out of what verified receipts say, and whom to try next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import sqrt

from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from pancode.domain import agentchoice, books
from pancode.domain.account.run_cost import cost_of
from pancode.domain.records import Attempt, Run

EXPLORE = 0.1
"""The share of choices that go to whoever was tried least: so a newcomer gets its chances."""
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
    """The key of a record: agent, model, runtime, kind of work, repository."""

    agent: str
    model: str | None
    runtime: str
    kind: str
    repository: str | None


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """Of `runs` runs `good` went well, and `landed` changes were landed. `unknown` costs are not in `usd`."""

    runs: int = 0
    good: int = 0
    landed: int = 0
    usd: Decimal = books.ZERO
    unknown: int = 0
    ms: int = 0

    def __add__(self, more: TrackRecord) -> TrackRecord:
        return TrackRecord(
            self.runs + more.runs,
            self.good + more.good,
            self.landed + more.landed,
            books.plus(self.usd, more.usd),
            self.unknown + more.unknown,
            self.ms + more.ms,
        )

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


def counted(run: Run, attempts: Iterable[Attempt]) -> TrackRecord | None:
    """The evidence that a run with an accepted receipt gives for its agent; None: none.

    Faults of ours, of a machine or of a model server, questions, and what people stopped are left out.
    """
    if run.outcome is not Outcome.DONE and not _is_agents_fault(run.failure):
        return None
    usd, unknown = cost_of(attempts)
    ms = max(0, (run.finished_ms or 0) - (run.started_ms or run.finished_ms or 0))
    good, landed = int(run.outcome is Outcome.DONE), int(bool(run.landed))
    return TrackRecord(1, good, landed, usd, int(unknown), ms)


def _is_agents_fault(failure: FailureKind | None) -> bool:
    return failure is not None and FAILURES[failure].agent


def key_of(run: Run) -> WorkKey:
    return WorkKey(run.agent, run.model, run.runtime, kind_of(run.task), run.project)


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


def by_agent(records: Mapping[WorkKey, TrackRecord], kind: str) -> dict[str, TrackRecord]:
    """Records of one kind of task by agent, over all models and repositories."""
    sums: dict[str, TrackRecord] = {}
    for key, record in records.items():
        if key.kind == kind:
            sums[key.agent] = sums.get(key.agent, TrackRecord()) + record
    return sums
