"""Keeps runs from nodes for some time, by circuit breakers or after nodes have refused a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from node_agent.wire.failure import FAILURES, FailureKind, JobRefusal
from node_agent.wire.identity import Mark
from pancode.agents.models import provider_name
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.declared import make_answer
from pancode.kernel.node import NodeView
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Attempt, Closed, Lease, Run, RunState, Setting
from pancode.kernel.values import replace
from pancode.runs.answers import BreakerShape
from pancode.runs.core import Core, hold_lock, open_leases
from pancode.runs.life.changes import Changes, PassOver
from pancode.runs.life.conversation import ended_turns
from pancode.runs.placement.breakers import (
    LOGIN_OF,
    LOOP,
    MOST_KEPT,
    Breaker,
    BreakerState,
    EndedTry,
    build_breakers,
    not_closed,
)
from pancode.runs.placement.placement import Shun

RESET = "breaker-reset:"
"""The prefix of a setting that records when a user reset the breaker; the breaker's name follows."""
RECENT_MS, RUNS = 3_600_000, 200
"""At the start at most RUNS of the newest runs are read, and only those that ended in the last RECENT_MS."""
FIX = "pancode admin breakers --reset {}"


def provider_of(core: Core, run: Run, node: str) -> str:
    """Return the run's model provider: the vendor, or node and endpoint; empty for a user's own command.

    Without a named vendor, the runtime's name is used. A subscription is one node's login, so its limits do
    not block other nodes.
    """
    kind = RUNTIMES.get(run.runtime)
    if kind is None or kind.own:
        return ""
    if run.endpoint is not None:
        return f"{node}/{run.endpoint}"
    named = (run.asked_model or "").partition("/")[0] if "/" in (run.asked_model or "") else ""
    vendor = provider_name(named) or kind.provider or run.runtime
    is_its_own = run.runtime in core.live.contacts.subscriptions.get(node, ())
    return f"{vendor}{LOGIN_OF}{node}" if is_its_own else vendor


def record_ends(core: Core, run: Run, ended: Iterable[tuple[Attempt, Lease]]) -> None:
    """Store the end of these attempts of the run, for the breakers."""
    kept = core.live.ended_tries
    for attempt, lease in ended:
        kept.append(_make_ended_try(core, run, attempt, lease))
    del kept[:-MOST_KEPT]


def rebuild_breakers(core: Core, tx: Transaction) -> None:
    """Rebuild the in-memory list of ended attempts from the ledger when a coordinator starts."""
    since = core.wall_ms() - RECENT_MS
    found: list[EndedTry] = []
    for run in tx.find(Run, order="created_ms", descending=True, limit=RUNS):
        if run.finished_ms is not None and run.finished_ms < since:
            continue
        leases = {lease.attempt: lease for lease in tx.find(Lease, {"run": run.id}, order="lease")}
        tries = [one for one in tx.find(Attempt, {"run": run.id}) if one.finished_ms is not None]
        found += [
            _make_ended_try(core, run, one, leases[one.attempt]) for one in tries if one.attempt in leases
        ]
    core.live.ended_tries[:] = sorted(found, key=lambda one: one.at_ms)[-MOST_KEPT:]
    names = [one for one in tx.find(Setting) if one.name.startswith(RESET)]
    core.live.breaker_resets.update({one.name.removeprefix(RESET): one.changed_ms for one in names})


def read_breakers(core: Core) -> list[Breaker]:
    """Return all breakers, those that are not closed first."""
    order = (BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED)
    return sorted(
        build_breakers(core.live.ended(core.wall_ms(), core.rules.retry_pause_ms)).values(),
        key=lambda one: (order.index(one.state), one.name),
    )


@hold_lock
def list_breakers(core: Core) -> list[BreakerShape]:
    """Return all breakers in the form that interfaces show."""
    return [make_answer(BreakerShape, one) for one in read_breakers(core)]


def list_resettable(core: Core) -> set[str]:
    """Return the names of all breakers that can be reset."""
    return {LOOP, *build_breakers(core.live.ended(core.wall_ms(), core.rules.retry_pause_ms))}


def blocked_nodes(
    core: Core, tx: Transaction, waiting: Sequence[Run], views: Iterable[NodeView]
) -> dict[str, dict[str, Shun]]:
    """Return the nodes that a run may not use now, by run: a breaker is open, or its probe is active."""
    bad = _not_closed(core)
    if not bad:
        return {}
    at_work, nodes = _at_work(core, tx, bad), [view.node.name for view in views]
    shuns: dict[str, dict[str, Shun]] = {}
    for run in waiting:
        for node in nodes:
            mine = [bad[name] for name in _list_names(core, run, node) if name in bad]
            shut = [one for one in mine if one.state is BreakerState.OPEN or one.name in at_work]
            if shut:
                found = shut[0]
                until = found.until_ms or 0
                if found.state is BreakerState.HALF_OPEN:
                    why = f"the breaker of {found.name} lets one run through, which is still active"
                else:
                    clock = datetime.fromtimestamp(until / 1_000, UTC).strftime("%H:%M:%S UTC")
                    why = f"the breaker of {found.name} is open until {clock}: {found.why}"
                shuns.setdefault(run.id, {})[node] = Shun(why, FIX.format(found.name), until)
    return shuns


def any_open(core: Core) -> bool:
    """Whether a breaker is open, so that runs with the same requirements may wait for different reasons."""
    return bool(_not_closed(core))


def is_second_probe(core: Core, run: Run, node: str, probes: set[str]) -> bool:
    """Whether a half-open breaker let another run through in this pass. `probes`: such breakers; grows."""
    bad = _not_closed(core)
    mine = {name for name in _list_names(core, run, node) if name in bad} if bad else set()
    if mine & probes:
        return True
    probes |= mine
    return False


def _not_closed(core: Core) -> dict[str, Breaker]:
    """Return the breakers that are not closed, by name; this is quick if there were no recent failures."""
    if all(one.failure is None for one in core.live.ended_tries):
        return {}
    return {one.name: one for one in not_closed(read_breakers(core))}


def _at_work(core: Core, tx: Transaction, bad: dict[str, Breaker]) -> dict[str, str]:
    """Return the active run that is the probe of a half-open breaker, by breaker."""
    probes: dict[str, str] = {}
    for lease in open_leases(tx):
        run = tx.get(Run, lease.run)
        for name in () if run is None else _make_ended_try(core, run, None, lease).names:
            late = name in bad and lease.bound_ms >= (bad[name].until_ms or 0)
            if run is not None and late and not _has_begun_well(run, lease, name):
                probes[name] = lease.run
    return probes


def _has_begun_well(run: Run, lease: Lease, name: str) -> bool:
    """Whether the probe has shown enough: the node has started work, or an interactive run, which may last
    for days, has answered."""
    if lease.mark in ("", Mark.HELD, Mark.ACCEPTED, Mark.PREPARED):
        return False
    return name.startswith("node:") or (run.takes_turns and ended_turns(run) > 0)


def _list_names(core: Core, run: Run, node: str) -> tuple[str, ...]:
    return _make_ended_try(core, run, None, node).names


def _make_ended_try(core: Core, run: Run, attempt: Attempt | None, lease: Lease | str) -> EndedTry:
    kind = RUNTIMES.get(run.runtime)
    if isinstance(lease, Lease):
        node, began = lease.node, lease.bound_ms
        # An attempt that an older coordinator bound has no stored provider.
        provider = lease.provider or provider_of(core, run, node)
    else:
        node, began, provider = lease, 0, provider_of(core, run, lease)
    return EndedTry(
        at_ms=attempt.finished_ms or 0 if attempt is not None else 0,
        began_ms=began,
        run=run.id,
        agent=run.agent,
        task=run.task,
        node=node,
        provider=provider,
        failure=None if attempt is None else attempt.failure,
        own=kind is None or kind.own,
        session=run.session if run.takes_turns else "",
        retry_ms=_find_wait_ms(run, attempt),
    )


def _find_wait_ms(run: Run, attempt: Attempt | None) -> int:
    """Return how many milliseconds to wait because of the provider's rate limit; 0: there is no limit."""
    if attempt is None or attempt.failure is not FailureKind.MODEL_BUSY or run.retry_at_ms is None:
        return 0
    return max(0, run.retry_at_ms - (attempt.finished_ms or 0))


_FIXES = {
    JobRefusal.CEILING: "ask the node's owner to change its ceiling.json, or dispatch within its limits",
    JobRefusal.RUNTIME_MISSING: "pancode agents runtimes",
    JobRefusal.DISK_FULL: "free disk space on the node",
    FailureKind.RUNTIME_MISSING: "pancode agents runtimes",
    FailureKind.MODEL_AUTH: "log the runtime in on the node; then see: pancode agents runtimes",
}


def note_changes(core: Core, changes: Changes) -> None:
    """Record the refusals of nodes and the ends of attempts in these changes."""
    for passed in changes.passed_over:
        record_refusal(core, passed)
    case, was = changes.case, changes.before.attempts
    leases = {lease.attempt: lease for _, lease in sorted(case.leases.items())}
    ended = [
        one for n, one in case.attempts.items() if one.finished_ms and not (n in was and was[n].finished_ms)
    ]
    record_ends(core, case.run, ((one, leases[one.attempt]) for one in ended if one.attempt in leases))


def record_refusal(core: Core, passed: PassOver) -> None:
    """Record that a node could not take a job, so that it gets none of this run, or of any, for a while."""
    of_task = passed.cause is FailureKind.GATE_MISSING
    shun = Shun(passed.why, _FIXES.get(passed.cause, ""), core.ports.clock.boot_ms(), of_task)
    if passed.run is None:
        core.live.passed_over.resting[passed.node] = _set_until(shun, core.rules.rest_ms)
    else:
        core.live.passed_over.shunned.setdefault(passed.run, {})[passed.node] = _set_until(
            shun, core.rules.shun_ms
        )


def restore_cooldowns(core: Core, tx: Transaction) -> None:
    """Restore, at a coordinator's start, which nodes a run avoids, so that its next attempt goes elsewhere.
    Refusals of nodes are not restored: such a node gets the job again, and refuses it once more."""
    rebuild_breakers(core, tx)
    for run in tx.find(Run, {"state": RunState.PENDING}):
        for old in tx.find(Attempt, {"run": run.id}) if run.attempt > 1 else ():
            if old.failure is None or not FAILURES[old.failure].elsewhere:
                continue
            for lease in tx.find(Lease, {"run": run.id}):
                if lease.attempt == old.attempt and lease.closed is Closed.RECEIPT:
                    record_refusal(core, PassOver(lease.node, run.id, old.failure, old.reason))


def list_resting(core: Core) -> Mapping[str, Shun]:
    """Return the nodes that recently refused all work, with the reasons."""
    _forget(core)
    return core.live.passed_over.resting


def list_shunned(core: Core) -> Mapping[str, Mapping[str, Shun]]:
    """Return the nodes that could not take a run, with the reasons, by run."""
    return core.live.passed_over.shunned


def kept_from(
    core: Core, tx: Transaction, waiting: Sequence[Run], views: Iterable[NodeView]
) -> Mapping[str, Mapping[str, Shun]]:
    """Return the nodes that a run may not use now, by run: they could not take it, or a breaker is open."""
    by_breaker, by_refusal = blocked_nodes(core, tx, waiting, views), list_shunned(core)
    return {run: {**by_breaker.get(run, {}), **by_refusal.get(run, {})} for run in {*by_breaker, *by_refusal}}


def of_node(core: Core, name: str) -> list[Shun]:
    """Return up to three reasons why the node gets no jobs now, of any run or of certain runs."""
    _forget(core)
    shuns = [core.live.passed_over.resting[name]] if name in core.live.passed_over.resting else []
    shuns += [
        Shun(f"could not take {run}: {nodes[name].why}", nodes[name].fix, nodes[name].until_ms)
        for run, nodes in core.live.passed_over.shunned.items()
        if name in nodes and not nodes[name].of_task
    ]
    return shuns[:3]


def _set_until(shun: Shun, ms: int) -> Shun:
    return replace(shun, until_ms=shun.until_ms + ms)


def _forget(core: Core) -> None:
    """Remove expired reasons."""
    now, live = core.ports.clock.boot_ms(), core.live
    live.passed_over.resting = {
        node: shun for node, shun in live.passed_over.resting.items() if shun.until_ms > now
    }
    for run, nodes in list(live.passed_over.shunned.items()):
        left = {node: shun for node, shun in nodes.items() if shun.until_ms > now}
        if left:
            live.passed_over.shunned[run] = left
        else:
            del live.passed_over.shunned[run]
