"""Lists of runs: with filters, and by the queues of pools and nodes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from node_agent.wire.failure import Outcome
from node_agent.wire.keys import node_queue, pool_queue
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import STATUSES
from pancode.kernel.names import not_found
from pancode.kernel.pages import MOST_ROWS, ListPage, ListPlace, ListSearch, read_page
from pancode.kernel.ports import Grouping, Transaction
from pancode.kernel.records import EndedRun, Lease, LeaseState, Node, Run, RunState, Setting
from pancode.runs.answers import JobShape, QueueShape, QueuesShape, RunShape
from pancode.runs.core import Core, open_leases
from pancode.runs.life.case import RunStage, waits_there
from pancode.runs.placement.placement import in_order, pool_of
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.views import SHOWN_STATUSES, find_series, has_status, node_of, run_shape

_SPAN = re.compile(r"(\d{1,9})(s|m|h|d|w)")
_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_ENDS = {one.value for one in Outcome if one is not Outcome.SUPERSEDED}
_OUTCOMES = {status: outcome for outcome, status in STATUSES.items() if outcome in _ENDS}
_KNOWN = {*_ENDS, *(state.value for state in RunState if state is not RunState.ENDED)}
_SHOWN = {*SHOWN_STATUSES, *(stage.value for stage in RunStage if stage is not RunStage.ENDED)} - _KNOWN
"""The statuses that lists show and that are neither an outcome nor a state of a run."""
_WORDS = sorted({*(STATUSES.get(word, word) for word in _KNOWN), *_SHOWN})


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of runs; None: no condition. `outcome` may also be a state, or a status that lists show."""

    node: str | None = None
    agent: str | None = None
    outcome: str | None = None
    text: str | None = None
    since_ms: int = 0
    workflow: str | None = None
    checks: bool = False
    """Also the runs that check the gates or the result of another run, which no user has begun."""

    @classmethod
    def of(cls, query: Mapping[str, str], wall_ms: int, *, checks: bool = False) -> Filter:
        """Return the filter described by a request's query. NotFoundError or UsageError if not valid."""
        typed = query.get("outcome")
        word = None if typed is None else typed.strip().replace(" ", "_")
        outcome = None if word is None else _OUTCOMES.get(word, word)
        if typed is not None and outcome not in _KNOWN | _SHOWN:
            raise not_found("state", typed, _WORDS, f"one of {', '.join(_WORDS)}")
        since = query.get("since")
        since_ms = 0 if since is None else moment_ms(since, wall_ms)
        text, workflow = query.get("text"), query.get("workflow")
        return cls(query.get("node"), query.get("agent"), outcome, text, since_ms, workflow, checks)

    def fits(self, core: Core, tx: Transaction, run: Run) -> bool:
        if run.judges is not None and not self.checks:
            return False
        if self.workflow not in (None, run.workflow):
            return False
        if self.agent not in (None, run.agent):
            return False
        if self.outcome not in (None, run.outcome, run.state) and not has_status(core, tx, run, self.outcome):
            return False
        if self.text is not None and self.text.casefold() not in _format_task(run).casefold():
            return False
        return self.node is None or self.node == node_of(tx, run)


def list_runs(core: Core, limit: int, wanted: Filter, after: ListPlace | None) -> ListPage[RunShape]:
    """Return the newest matching runs, newest first, examining MOST_ROWS rows from `after` on."""
    with core.ports.ledger.transaction() as tx:
        found = read_page(tx, _search(core, tx, wanted), min(limit, MOST_ROWS), after)
        return ListPage([run_shape(core, tx, run) for run in found.rows], found.last)


def since_ms(core: Core, text: str | None) -> int:
    """Return the user's time in Unix milliseconds (see `moment_ms`); None: 0, which includes all runs."""
    return 0 if text is None else max(0, moment_ms(text, core.wall_ms()))


def moment_ms(text: str, wall_ms: int) -> int:
    """Parse `90m`, `2h`, `3d` (that long ago), `2026-11-22` or `2026-11-22T08:30` (local time unless it has a
    zone) into Unix milliseconds."""
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return wall_ms - int(span[1]) * _MS[span[2]]
    try:
        return round(datetime.fromisoformat(text.strip()).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as exc:
        fix = "write 90m, 2h, 3d, 2026-11-22 or 2026-11-22T08:30"
        raise UsageError(f"{text!r} is not a valid time", fix=fix, code="bad_value") from exc


def _search(core: Core, tx: Transaction, wanted: Filter) -> ListSearch[Run]:
    since, most = wanted.since_ms or None, None if wanted == Filter(checks=wanted.checks) else MOST_ROWS
    return ListSearch(Run, "created_ms", fits=partial(wanted.fits, core, tx), since=since, most=most)


def _format_task(run: Run) -> str:
    return run.task or " ".join(run.argv or ())


PAUSED = "paused"
PAUSE = "pause:"


def list_queues(core: Core, name: str | None = None) -> QueuesShape:
    """Return all queues, pools first; `name`: one queue (its full name, a pool's requirement, or a node)."""
    with core.ports.ledger.transaction() as tx:
        leases = open_leases(tx)
        fleet = tx.get(Setting, PAUSED)
        bound = {lease.run for lease in leases}
        waiting = [r for r in tx.find(Run, {"state": RunState.PENDING}) if r.id not in bound]
        shapes = _list_pools(core, tx, waiting) + _list_nodes(core, tx, leases)
    paused = str(fleet.value) if fleet is not None else None
    if name is None:
        return {"paused": paused, "queues": shapes}
    wanted = [q for q in shapes if name in (q["name"], q["name"].removeprefix("pool."), q["node"])]
    if not wanted:
        raise not_found("queue", name, [q["name"] for q in shapes], "pancode runs ls --waiting")
    return {"paused": paused, "queues": wanted}


def put_setting(core: Core, name: str, value: object | None, by: str) -> None:
    """Change one stored setting of the fleet; None removes it."""
    with unit_of_work(core) as work:
        if value is None:
            work.tx.delete(Setting, name)
        else:
            work.tx.put(Setting(name, value, core.wall_ms(), by))
        work.audit("fleet", "info", f"setting {name}", by=by, value=value)


def pause_key(tx: Transaction, name: str) -> str:
    """Return the name of the setting that pauses a pool; NotFoundError for an unknown pool."""
    pool = name.removeprefix("pool.")
    known = {pool_of(run) for run in tx.find(Run, {"state": RunState.PENDING})} | {"any"}
    known |= {s.name.removeprefix(PAUSE) for s in tx.find(Setting) if s.name.startswith(PAUSE)}
    known |= {f"node.{node.name}" for node in tx.find(Node)}
    if pool not in known and "=" not in pool:
        raise not_found("queue", name, [f"pool.{p}" for p in known], "pancode runs ls --waiting")
    return PAUSE + pool


def _list_pools(core: Core, tx: Transaction, waiting: Iterable[Run]) -> list[QueueShape]:
    by_pool: dict[str, list[Run]] = {"any": []}
    for run in in_order(waiting):
        by_pool.setdefault(pool_of(run), []).append(run)
    paused = {s.name: str(s.value) for s in tx.find(Setting) if s.name.startswith(PAUSE)}
    for name in paused:
        by_pool.setdefault(name.removeprefix(PAUSE), [])
    return [_make_pool(core, name, runs, paused.get(PAUSE + name)) for name, runs in sorted(by_pool.items())]


def _make_pool(core: Core, name: str, runs: list[Run], paused: str | None) -> QueueShape:
    jobs = [_make_job(run, core.wall_ms() - run.created_ms, run.reason) for run in runs]
    pinned = name.removeprefix("node.") if name.startswith("node.") else None
    return _queue(pool_queue(name), "pool", pinned, paused, jobs, 0)


def _list_nodes(core: Core, tx: Transaction, leases: list[Lease]) -> list[QueueShape]:
    shapes = []
    for node in tx.find(Node):
        if node.tag is None or node.removed == "removed":
            continue
        mine = [lease for lease in leases if lease.node == node.name]
        pairs = [(tx.get(Run, lease.run), lease) for lease in mine]
        jobs = [_make_bound_job(core, run, lease) for run, lease in pairs if run is not None]
        running = sum(1 for lease in mine if lease.state is not LeaseState.OFFERED and not waits_there(lease))
        paused = node.paused or (f"draining: {node.draining}" if node.draining is not None else None)
        shapes.append(_queue(node_queue(node.tag), "node", node.name, paused, jobs, running))
    return shapes


def _queue(
    name: str, kind: str, node: str | None, paused: str | None, jobs: list[JobShape], running: int
) -> QueueShape:
    return {
        "name": name,
        "kind": kind,
        "node": node,
        "paused": paused,
        "waiting": len(jobs) - running,
        "running": running,
        "oldest_s": max((job["waiting_s"] for job in jobs), default=None),
        "orders": jobs,
    }


def _make_bound_job(core: Core, run: Run, lease: Lease) -> JobShape:
    reason = run.reason if lease.lease == run.lease else f"older lease, {lease.state}"
    return _make_job(run, core.wall_ms() - lease.bound_ms, reason)


def _make_job(run: Run, waited_ms: int, reason: str) -> JobShape:
    return {
        "run": run.id,
        "attempt": run.attempt,
        "agent": run.agent,
        "priority": run.priority,
        "waiting_s": round(max(0, waited_ms) / 1000, 1),
        "reason": reason,
    }


_LISTED = {"agent": "agents", "node": "node ls", "repository": "budget spent --by repository"}
"""The command that lists the names of each kind."""


def resolve_filters(core: Core, wanted: Mapping[str, str], agents: Collection[str] = ()) -> dict[str, str]:
    """Return the filters by agent, node, repository and workflow (by id). `agents`: agents defined in files.
    NotFoundError for a name that neither exists nor occurs in a past run."""
    with core.ports.ledger.transaction() as tx:
        for kind, command in _LISTED.items():
            word = wanted.get(kind)
            now = agents if kind == "agent" else [node.name for node in tx.find(Node)]
            if word is None or (kind != "repository" and word in now):
                continue
            # Names in past runs count too, even if they no longer exist.
            found = tx.tally(EndedRun, Grouping(by=(kind,)))
            if kind != "node":  # The node of a run that has not ended still exists in the fleet.
                found += tx.tally(Run, Grouping(by=("project" if kind == "repository" else kind,)))
            had = {str(one.key[0]) for one in found if one.key[0] is not None}
            known = {*(now if kind != "repository" else ()), *had}
            if word not in known:
                raise not_found(kind, word, known, f"pancode {command}")
    series = find_series(core, "workflow", wanted.get("workflow", ""))
    return {**wanted, **({} if series is None else {"workflow": series.id})}
