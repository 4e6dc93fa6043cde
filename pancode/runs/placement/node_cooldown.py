"""Nodes that are passed over for a while: unfit for any work, or unable to take a certain run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from node_agent.wire.failure import FAILURES, FailureKind, OrderRefusal
from pancode.kernel.node import NodeView
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Attempt, Closed, Fence, Run, RunState
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.life.changes import Changes, PassOver
from pancode.runs.placement import breaker_service
from pancode.runs.placement.placement import Shun

_FIXES = {
    OrderRefusal.CEILING: "its owner may change ceiling.json there, or dispatch within it",
    OrderRefusal.RUNTIME_MISSING: "pancode agents runtimes",
    OrderRefusal.DISK_FULL: "free disk there",
    FailureKind.RUNTIME_MISSING: "pancode agents runtimes",
    FailureKind.MODEL_AUTH: "log the runtime in there; then see: pancode agents runtimes",
}


def note_changes(core: Core, changes: Changes) -> None:
    """Notes the nodes that a decision passes over, and the attempts that ended."""
    for passed in changes.passed_over:
        record_refusal(core, passed)
    case, was = changes.case, changes.before.attempts
    fences = {fence.attempt: fence for _, fence in sorted(case.fences.items())}
    ended = [
        one for n, one in case.attempts.items() if one.finished_ms and not (n in was and was[n].finished_ms)
    ]
    breaker_service.record_ends(
        core, case.run, ((one, fences[one.attempt]) for one in ended if one.attempt in fences)
    )


def record_refusal(core: Core, passed: PassOver) -> None:
    """Note that a node could not take an order, so that it is not offered at once again this run, or any."""
    of_task = passed.cause is FailureKind.GATE_MISSING
    shun = Shun(passed.why, _FIXES.get(passed.cause, ""), core.ports.clock.boot_ms(), of_task)
    if passed.run is None:
        core.live.passed_over.resting[passed.node] = _until(shun, core.rules.rest_ms)
    else:
        core.live.passed_over.shunned.setdefault(passed.run, {})[passed.node] = _until(
            shun, core.rules.shun_ms
        )


def restore_cooldowns(core: Core, tx: Transaction) -> None:
    """Restores this memory from the ledger when a coordinator starts: a run's next attempt goes elsewhere.

    What a node has refused is not known any more: it is offered once more, and refused once more.
    """
    breaker_service.rebuild_breakers(core, tx)
    for run in tx.find(Run, {"state": RunState.PENDING}):
        for old in tx.find(Attempt, {"run": run.id}) if run.attempt > 1 else ():
            if old.failure is None or not FAILURES[old.failure].elsewhere:
                continue
            for fence in tx.find(Fence, {"run": run.id}):
                if fence.attempt == old.attempt and fence.closed is Closed.RECEIPT:
                    record_refusal(core, PassOver(fence.node, run.id, old.failure, old.reason))


def list_resting(core: Core) -> Mapping[str, Shun]:
    """Return the nodes that said a moment ago that they take nothing, with the reasons."""
    _forget(core)
    return core.live.passed_over.resting


def list_shunned(core: Core) -> Mapping[str, Mapping[str, Shun]]:
    """Return, by run, the nodes that could not take it, with the reasons."""
    return core.live.passed_over.shunned


def kept_from(
    core: Core, tx: Transaction, waiting: Sequence[Run], views: Iterable[NodeView]
) -> Mapping[str, Mapping[str, Shun]]:
    """Return, by run, the nodes that it may not go to now: they could not take it, or a breaker is open."""
    by_breaker, by_refusal = breaker_service.blocked_nodes(core, tx, waiting, views), list_shunned(core)
    return {run: {**by_breaker.get(run, {}), **by_refusal.get(run, {})} for run in {*by_breaker, *by_refusal}}


def of_node(core: Core, name: str) -> list[Shun]:
    """Return the reasons why the node is offered nothing, or not some run, now; each once."""
    _forget(core)
    shuns = [core.live.passed_over.resting[name]] if name in core.live.passed_over.resting else []
    shuns += [
        Shun(f"could not take {run}: {nodes[name].why}", nodes[name].fix, nodes[name].until_ms)
        for run, nodes in core.live.passed_over.shunned.items()
        if name in nodes and not nodes[name].of_task
    ]
    return shuns[:3]


def _until(shun: Shun, ms: int) -> Shun:
    return replace(shun, until_ms=shun.until_ms + ms)


def _forget(core: Core) -> None:
    """Remove the reasons whose time is over."""
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
