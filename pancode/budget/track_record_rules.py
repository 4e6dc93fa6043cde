"""Track records: how well agents work, by verified receipts, and the choices based on that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from math import sqrt

from node_agent.wire.failure import Outcome
from pancode.agents import agents
from pancode.budget import books
from pancode.budget.books import Amount, format_minutes
from pancode.kernel.formatting import count_noun, format_usd
from pancode.kernel.records import EndedRun, Run
from pancode.kernel.rows import Facet

EXPLORE = 0.1
"""The share of choices that go to the least tried candidate, so that newcomers get a chance."""
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
    """The key of a record: agent, model, runtime, kind of work, repository, node, size of the task."""

    agent: str
    model: str | None
    runtime: str
    kind: str
    repository: str | None
    node: str | None = None
    size: str = ""


@dataclass(frozen=True, slots=True)
class ExpectedWork:
    """What a run is expected to need, and the evidence for it as text. `usd` None: the cost is unknown."""

    usd: Decimal | None
    amount: Amount
    words: str


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """The record of runs. `good`: successful; `landed`: landed, not reverted; `reverted`: undone later.
    `unknown`: number of costs not in `usd`. `paid`: number of runs with a known cost above 0."""

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
            books.add_amounts(self.usd, more.usd),
            self.unknown + more.unknown,
            self.ms + more.ms,
            self.reverted + more.reverted,
            self.tokens + more.tokens,
            self.agent_ms + more.agent_ms,
            self.paid + more.paid,
        )

    def __neg__(self) -> TrackRecord:
        """Return the negative record, to subtract it from a sum."""
        return TrackRecord(**{one.name: -getattr(self, one.name) for one in fields(self)})

    @property
    def rate(self) -> float:
        """The share of good runs, smoothed by adding one good and one bad run."""
        return (self.good + 1) / (self.runs + 2)

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson confidence interval of the true rate; 0 to 1 without runs."""
        if not self.runs:
            return 0.0, 1.0
        n, share, square = self.runs, self.good / self.runs, _Z * _Z
        middle = (share + square / (2 * n)) / (1 + square / n)
        half = _Z * sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def words(self) -> str:
        """Return the numbers that decided, for `pancode why`."""
        low, high = self.interval
        return f"{self.good} of {self.runs} succeeded, rate {self.rate:.2f} ({low:.2f} to {high:.2f})"


def kind_of(task: str) -> str:
    """Return the kind of a task, based on how its text begins."""
    name = agents.beginning_of(task)
    return CHANGE if name is None else KIND_OF_AGENT[name]


SIZES = ((300, "small"), (1_500, "medium"))
"""The maximum characters of a task of each size; tasks longer than these are large."""
LARGE = "large"


def size_of(task: str) -> str:
    """Return the size of a task by the length of its text, which is known before the work."""
    length = len(task.strip())
    return next((name for most, name in SIZES if length <= most), LARGE)


def record_of(row: EndedRun) -> TrackRecord | None:
    """Return the record of one ended run; None: the run does not count. A reverted change is not good."""
    if not row.counts:
        return None
    good = int(row.outcome is Outcome.DONE and not row.reverted)
    landed, reverted = int(row.landed and not row.reverted), int(row.reverted)
    paid = int(row.usd > 0 and not row.unknown)
    return TrackRecord(
        1, good, landed, row.usd, int(row.unknown), row.ms, reverted, row.tokens, row.agent_ms, paid
    )


def key_of(row: EndedRun) -> WorkKey:
    return WorkKey(row.agent, row.model, row.runtime, row.kind, row.repository, row.node, row.size)


def sum_records(records: Iterable[tuple[WorkKey, TrackRecord]]) -> dict[WorkKey, TrackRecord]:
    """Return the sums of the records by key."""
    sums: dict[WorkKey, TrackRecord] = {}
    for key, record in records:
        sums[key] = sums.get(key, TrackRecord()) + record
    return sums


def choose_name(
    names: Sequence[str], records: Mapping[str, TrackRecord], draw: float, explore: float = EXPLORE
) -> tuple[str, str]:
    """Choose a name; return it and the reason. `draw`: random, 0 to 1; below `explore` the least tried name
    wins. Otherwise the best smoothed rate wins; ties go to the name with fewer runs, then to the first."""
    known = {name: records.get(name, TrackRecord()) for name in names}
    least = min(names, key=lambda name: (known[name].runs, name))
    if draw < explore:
        return least, f"tried least: {format_record(known[least])}"
    best = max(names, key=lambda name: (known[name].rate, -known[name].runs))
    return best, f"best record: {format_record(known[best])}"


Sums = Mapping[WorkKey, TrackRecord]
ENOUGH = 3
"""The number of runs that counts as enough evidence; with fewer runs, a wider group of runs is used."""


WorkerKind = tuple[str, str, str]
"""Agent, runtime, kind of task."""


def worker_kind(run: Run) -> WorkerKind:
    return run.agent, run.runtime, kind_of(run.task)


def group_records(records: Sums, by: str, **equal: str | None) -> dict[str | None, TrackRecord]:
    """Return the records whose keys have these values, added up by another field."""
    sums: dict[str | None, TrackRecord] = {}
    for key, record in records.items():
        if all(getattr(key, name) == value for name, value in equal.items()):
            name = getattr(key, by)
            sums[name] = sums.get(name, TrackRecord()) + record
    return sums


def of_agents(records: Sums, task: str, repository: str | None) -> dict[str, TrackRecord]:
    """Return records by agent for this kind of task, from the narrowest group with enough runs: this size in
    this repository, any size there, this size anywhere, or all."""
    kind, size = kind_of(task), size_of(task)
    here = {"kind": kind, "repository": repository}
    ways = ({**here, "size": size}, here, {"kind": kind, "size": size}, {"kind": kind})
    groups = [group_records(records, "agent", **way) for way in ways]
    return {str(name): _choose_narrowest(groups, name) for name in groups[-1]}


def of_models(records: Sums, agent: str, task: str, names: Mapping[str, str]) -> dict[str, TrackRecord]:
    """Return records by requested model for this kind of task, from the narrowest group with enough runs:
    this agent at this size, this agent, or all agents. `names`: bare model name for each requested one."""
    kind = kind_of(task)
    own = {"kind": kind, "agent": agent}
    ways = ({**own, "size": size_of(task)}, own, {"kind": kind})
    groups = [group_records(records, "model", **way) for way in ways]
    return {name: _choose_narrowest(groups, bare) for name, bare in names.items()}


def _choose_narrowest(groups: Sequence[Mapping[str | None, TrackRecord]], name: str | None) -> TrackRecord:
    """Return the record of `name` from the first group where it has enough runs, else from the widest."""
    known = (group[name] for group in groups[:-1] if _has_enough(group.get(name)))
    return next(known, groups[-1].get(name, TrackRecord()))


def describe_worker(records: Sums, agent: str, runtime: str, model: str | None, task: str) -> str:
    """Describe how well this worker does such tasks; unknown if it has too few runs."""
    kind, size = kind_of(task), size_of(task)
    worker = {"agent": agent, "runtime": runtime, "model": model, "kind": kind}
    sized = group_records(records, "agent", **worker, size=size).get(agent)
    any_size = group_records(records, "agent", **worker).get(agent, TrackRecord())
    who = f"{agent} with {model or f'the model of {runtime}'} at tasks of kind {kind}"
    if sized is not None and _has_enough(sized):
        return f"{who} and size {size}: {format_record(sized)}"
    return f"{who}: {format_record(any_size)}"


def format_record(record: TrackRecord) -> str:
    """Return the record as text; `unknown` if it has too few runs."""
    if _has_enough(record):
        return record.words
    return f"unknown: {count_noun(record.runs, 'run')} so far, {ENOUGH} needed"


def of_nodes(records: Sums, agent: str, runtime: str, kind: str) -> dict[str, TrackRecord]:
    found = group_records(records, "node", agent=agent, runtime=runtime, kind=kind)
    return {name: record for name, record in found.items() if name is not None}


def poor_nodes(records: Mapping[str, TrackRecord], names: list[str]) -> dict[str, str]:
    """Return the nodes that are significantly worse at this work than the best node, each with the numbers.

    Significantly: its confidence interval is entirely below the best node's, so new nodes are never included.
    """
    known = {name: records.get(name, TrackRecord()) for name in names}
    best = max(known, key=lambda name: (known[name].interval[0], name), default=None)
    if best is None:
        return {}
    floor = known[best].interval[0]
    words = f"better on {best}: {known[best].words}"
    return {
        name: f"{words}; on {name}: {record.words}"
        for name, record in known.items()
        if record.interval[1] < floor
    }


def poor_of(
    run: Run, names: list[str], records: Mapping[WorkerKind, Mapping[str, TrackRecord]]
) -> dict[str, str]:
    """Return `poor_nodes` for the work of this run; empty for a run that explores (`is_exploring`)."""
    known = records.get(worker_kind(run)) if run.judges is None else None
    return {} if not known or is_exploring(run) else poor_nodes(known, names)


@dataclass(frozen=True, slots=True)
class Exploration(Facet):
    """The probability that the run goes to the least tried candidate."""

    explore: float = EXPLORE
    """The share of runs that explore."""


def is_exploring(run: Run) -> bool:
    """Whether this run ignores the records and goes wherever there is room; constant for each run."""
    draw = int(hashlib.sha256(f"{run.id} {run.trace}".encode()).hexdigest()[:8], 16) / 2**32
    return draw < float(Exploration.of(run).explore)


def estimate_work(
    records: Sums, agent: str, runtime: str, model: str | None, task: str
) -> ExpectedWork | None:
    """Return the averages of comparable runs, of this kind of task if there are enough; None: no such run."""
    of_worker = {"agent": agent, "runtime": runtime, "model": model}
    kind = kind_of(task)
    narrow = group_records(records, "kind", **of_worker, kind=kind).get(kind)
    record, about = narrow, f"at tasks of kind {kind}"
    if not _has_enough(record):
        wide = list(group_records(records, "runtime", **of_worker).values())
        record, about = (wide[0] if wide else None), "at any task"
    if record is None or not record.runs:
        return None
    usd = (record.usd / record.paid).quantize(Decimal("0.0001")) if record.paid else None
    amount = Amount(tokens=record.tokens // record.runs, ms=record.agent_ms // record.runs)
    cost = "at unknown cost" if usd is None else f"{format_usd(usd)} each"
    basis = (
        f"{count_noun(record.runs, 'run')} of {agent} {about}: {cost}, "
        f"{format_minutes(amount.ms)} agent-minutes each"
    )
    return ExpectedWork(usd, amount, basis)


def _has_enough(record: TrackRecord | None) -> bool:
    return record is not None and record.runs >= ENOUGH
