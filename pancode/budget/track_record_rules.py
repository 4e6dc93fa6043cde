"""Track records: how well an agent does its work by verified receipts, and whom a run is given to."""

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
from pancode.kernel.facets import Facet
from pancode.kernel.formatting import count_noun
from pancode.kernel.records import EndedRun, Run

EXPLORE = 0.1
"""The share of choices that go to the candidate that was tried least, so that a newcomer gets its chances."""
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
    """What a run is expected to need, and the evidence in words. `usd` None: no cost is known."""

    usd: Decimal | None
    amount: Amount
    words: str


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """The record of runs. `good` ones went well; `landed` changes stand, `reverted` ones were taken back.

    `unknown`: costs that are not in `usd`. `paid`: the number of runs that cost money, all of it known.
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
            books.add_amounts(self.usd, more.usd),
            self.unknown + more.unknown,
            self.ms + more.ms,
            self.reverted + more.reverted,
            self.tokens + more.tokens,
            self.agent_ms + more.agent_ms,
            self.paid + more.paid,
        )

    def __neg__(self) -> TrackRecord:
        """The negative record, to subtract it from a sum."""
        return TrackRecord(**{one.name: -getattr(self, one.name) for one in fields(self)})

    @property
    def rate(self) -> float:
        """The share of good runs, smoothed by one good and one bad run more: little evidence says little."""
        return (self.good + 1) / (self.runs + 2)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the true rate; 0 to 1 where there are no runs."""
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
    """Return the kind of a task, by how its text begins."""
    name = agents.beginning_of(task)
    return CHANGE if name is None else KIND_OF_AGENT[name]


SIZES = ((300, "small"), (1_500, "medium"))
"""A task of at most so many characters has that size; a longer one is large."""
LARGE = "large"


def size_of(task: str) -> str:
    """The size of a task by the length of its text, which is known before the work is done."""
    length = len(task.strip())
    return next((name for most, name in SIZES if length <= most), LARGE)


def record_of(row: EndedRun) -> TrackRecord | None:
    """Return what an ended run says of its agent; None: it does not count. A reverted change is not good."""
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
    """The sums of the records by key."""
    sums: dict[WorkKey, TrackRecord] = {}
    for key, record in records:
        sums[key] = sums.get(key, TrackRecord()) + record
    return sums


def choose_name(
    names: Sequence[str], records: Mapping[str, TrackRecord], draw: float, explore: float = EXPLORE
) -> tuple[str, str]:
    """Choose a name; return it and why. `draw`: from 0 to 1, below `explore` the name tried least is chosen.

    Otherwise the best smoothed rate wins; between equals the one with fewer runs, then by name.
    """
    known = {name: records.get(name, TrackRecord()) for name in names}
    least = min(names, key=lambda name: (known[name].runs, name))
    if draw < explore:
        return least, f"tried least: {format_record(known[least])}"
    best = max(names, key=lambda name: (known[name].rate, -known[name].runs))
    return best, f"best record: {format_record(known[best])}"


Sums = Mapping[WorkKey, TrackRecord]
ENOUGH = 3
"""How many runs are enough evidence, so that wider evidence is not used."""


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
    """The records by agent for this kind of task: of its size in this repository, of all sizes there, of its
    size anywhere, or of all, whichever has evidence first."""
    kind, size = kind_of(task), size_of(task)
    here = {"kind": kind, "repository": repository}
    ways = ({**here, "size": size}, here, {"kind": kind, "size": size}, {"kind": kind})
    groups = [group_records(records, "agent", **way) for way in ways]
    return {str(name): _choose_narrowest(groups, name) for name in groups[-1]}


def of_models(records: Sums, agent: str, task: str, names: Mapping[str, str]) -> dict[str, TrackRecord]:
    """Return the records by requested model for this kind of task: with this agent at its size, at all sizes,
    or with all agents, whichever has enough runs first. `names`: requested to bare name.
    """
    kind = kind_of(task)
    own = {"kind": kind, "agent": agent}
    ways = ({**own, "size": size_of(task)}, own, {"kind": kind})
    groups = [group_records(records, "model", **way) for way in ways]
    return {name: _choose_narrowest(groups, bare) for name, bare in names.items()}


def _choose_narrowest(groups: Sequence[Mapping[str | None, TrackRecord]], name: str | None) -> TrackRecord:
    """The first of these records with enough evidence, else the widest."""
    known = (group[name] for group in groups[:-1] if _has_enough(group.get(name)))
    return next(known, groups[-1].get(name, TrackRecord()))


def describe_worker(records: Sums, agent: str, runtime: str, model: str | None, task: str) -> str:
    """Return how well this worker does such tasks, in words; unknown where the number of runs is small."""
    kind, size = kind_of(task), size_of(task)
    worker = {"agent": agent, "runtime": runtime, "model": model, "kind": kind}
    sized = group_records(records, "agent", **worker, size=size).get(agent)
    any_size = group_records(records, "agent", **worker).get(agent, TrackRecord())
    who = f"{agent} with {model or f'the model of {runtime}'} at tasks of kind {kind}"
    if sized is not None and _has_enough(sized):
        return f"{who} and size {size}: {format_record(sized)}"
    return f"{who}: {format_record(any_size)}"


def format_record(record: TrackRecord) -> str:
    """The record in words; `unknown` if too few runs stand behind it."""
    if _has_enough(record):
        return record.words
    return f"unknown, {count_noun(record.runs, 'run')} known and {ENOUGH} are needed"


def of_nodes(records: Sums, agent: str, runtime: str, kind: str) -> dict[str, TrackRecord]:
    found = group_records(records, "node", agent=agent, runtime=runtime, kind=kind)
    return {name: record for name, record in found.items() if name is not None}


def poor_nodes(records: Mapping[str, TrackRecord], names: list[str]) -> dict[str, str]:
    """Return the nodes that do this work definitely worse than the best of them, each with the numbers.

    Definitely: the likely rates of the node all lie below those of the best. A newcomer's never do.
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
    """Return `poor_nodes` for the work of this run; none for a run that explores."""
    known = records.get(worker_kind(run)) if run.judges is None else None
    return {} if not known or is_exploring(run) else poor_nodes(known, names)


@dataclass(frozen=True, slots=True)
class Exploration(Facet):
    """How likely the run goes to the candidate that was tried least."""

    explore: float = EXPLORE
    """The share of runs that explore."""


def is_exploring(run: Run) -> bool:
    """Whether this run goes wherever there is room, whatever the records say; always the same for a run."""
    draw = int(hashlib.sha256(f"{run.id} {run.trace}".encode()).hexdigest()[:8], 16) / 2**32
    return draw < float(Exploration.of(run).explore)


def estimate_work(
    records: Sums, agent: str, runtime: str, model: str | None, task: str
) -> ExpectedWork | None:
    """Averages of such runs, of this kind of task where there is evidence. None: no run is known."""
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
    cost = "at unknown cost" if usd is None else f"${usd:.4f} each"
    basis = (
        f"{count_noun(record.runs, 'run')} of {agent} {about}: {cost}, "
        f"{format_minutes(amount.ms)} agent-minutes each"
    )
    return ExpectedWork(usd, amount, basis)


def _has_enough(record: TrackRecord | None) -> bool:
    return record is not None and record.runs >= ENOUGH
