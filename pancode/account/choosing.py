"""Decides by the records: which agent, model and node, and what a run is expected to cost and take. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal

from pancode.account.track_records import TrackRecord, WorkKey, kind_of
from pancode.agents.expected import EXPLORE, EXPLORES, ExpectedWork
from pancode.core.books import Amount, minutes
from pancode.core.records import Run
from pancode.counted import counted

Sums = Mapping[WorkKey, TrackRecord]
ENOUGH = 3
"""So many runs are evidence enough, so that wider evidence need not be looked at."""


WorkerKind = tuple[str, str, str]
"""Agent, runtime, kind of task."""


def worker_kind(run: Run) -> WorkerKind:
    return run.agent, run.runtime, kind_of(run.task)


def grouped(records: Sums, by: str, **equal: str | None) -> dict[str | None, TrackRecord]:
    """Records of the keys whose fields have these values, added up by another field."""
    sums: dict[str | None, TrackRecord] = {}
    for key, record in records.items():
        if all(getattr(key, name) == value for name, value in equal.items()):
            name = getattr(key, by)
            sums[name] = sums.get(name, TrackRecord()) + record
    return sums


def of_agents(records: Sums, kind: str, repository: str | None) -> dict[str, TrackRecord]:
    """By agent, for this kind of task: in this repository where there is evidence, else in all of them."""
    here = grouped(records, "agent", kind=kind, repository=repository)
    everywhere = grouped(records, "agent", kind=kind)
    return {str(name): here[name] if _enough(here.get(name)) else all_ for name, all_ in everywhere.items()}


def of_models(records: Sums, agent: str, kind: str, names: Mapping[str, str]) -> dict[str, TrackRecord]:
    """By asked name: with this agent where there is evidence, else with all. `names`: asked to bare name."""
    own, everyone = grouped(records, "model", kind=kind, agent=agent), grouped(records, "model", kind=kind)
    found = {}
    for asked, bare in names.items():
        mine = own.get(bare)
        found[asked] = mine if mine is not None and _enough(mine) else everyone.get(bare, TrackRecord())
    return found


def of_nodes(records: Sums, agent: str, runtime: str, kind: str) -> dict[str, TrackRecord]:
    found = grouped(records, "node", agent=agent, runtime=runtime, kind=kind)
    return {name: record for name, record in found.items() if name is not None}


def poor_nodes(records: Mapping[str, TrackRecord], names: list[str]) -> dict[str, str]:
    """Nodes that do this work definitely worse than another one of these, each with the numbers.

    Definitely: all that is likely of it lies below all that is likely of the other. A newcomer never is.
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
    """As `poor_nodes`, for the work of this run; of a share of the runs that is not asked."""
    known = records.get(worker_kind(run)) if run.judges is None else None
    return {} if not known or explores(run) else poor_nodes(known, names)


def explores(run: Run) -> bool:
    """Whether this run goes wherever there is room, whatever the records say; the same at each look."""
    share = run.terms.get(EXPLORES, EXPLORE)
    draw = int(hashlib.sha256(f"{run.id} {run.trace}".encode()).hexdigest()[:8], 16) / 2**32
    return draw < float(str(share))


def expected(records: Sums, agent: str, runtime: str, model: str | None, task: str) -> ExpectedWork | None:
    """Averages of such runs, of this kind of task where there is evidence. None: no run is known."""
    of_worker = {"agent": agent, "runtime": runtime, "model": model}
    kind = kind_of(task)
    narrow = grouped(records, "kind", **of_worker, kind=kind).get(kind)
    record, about = narrow, f"at tasks of kind {kind}"
    if not _enough(record):
        wide = list(grouped(records, "runtime", **of_worker).values())
        record, about = (wide[0] if wide else None), "at any task"
    if record is None or not record.runs:
        return None
    usd = (record.usd / record.paid).quantize(Decimal("0.0001")) if record.paid else None
    amount = Amount(tokens=record.tokens // record.runs, ms=record.agent_ms // record.runs)
    cost = "at unknown cost" if usd is None else f"${usd:.4f} each"
    basis = (
        f"{counted(record.runs, 'run')} of {agent} {about}: {cost}, {minutes(amount.ms)} agent-minutes each"
    )
    return ExpectedWork(usd, amount, basis)


def _enough(record: TrackRecord | None) -> bool:
    return record is not None and record.runs >= ENOUGH
