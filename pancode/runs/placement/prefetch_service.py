"""Hands over all runs that may wait on nodes; lists which wait on nodes, and which stay here and why."""

from __future__ import annotations

from node_agent.wire.identity import Mark
from pancode.kernel.records import Lease, Run, RunState
from pancode.runs.answers import HandedRun, HandoverShape, StayingRun
from pancode.runs.core import Core, hold_lock, open_leases
from pancode.runs.features import features_of
from pancode.runs.life.case import place_in_line, waits_there
from pancode.runs.placement import binding as bind
from pancode.runs.placement.placement import in_order
from pancode.runs.reconcile import act_now
from pancode.runs.views import in_line


@hold_lock
def hand_over(core: Core) -> HandoverShape:
    """Hand over all runs that nodes accept; return the state. A repeated call hands over newer runs."""
    bind.bind_runs(core, everything=True)
    act_now(core)
    with core.ports.ledger.transaction() as tx:
        leases = open_leases(tx)
        held = sorted(filter(waits_there, leases), key=lambda one: (one.node, place_in_line(one)))
        found = [(lease, tx.get(Run, lease.run)) for lease in held]
        handed = [_make_handed(lease, in_line(tx, run, lease)) for lease, run in found if run is not None]
        bound = {lease.run for lease in leases}
        stays = [run for run in tx.find(Run, {"state": RunState.PENDING}) if run.id not in bound]
        later = [one for find in features_of(core).later for one in find(tx)]
    return {
        "at_work": len({lease.run for lease in leases}) - len(handed),
        "handed": handed,
        "stays": [_make_staying(run) for run in in_order(stays)],
        "later": later,
    }


def _make_handed(lease: Lease, why: str) -> HandedRun:
    return {"run": lease.run, "node": lease.node, "why": why, "there": lease.mark == Mark.HELD}


def _make_staying(run: Run) -> StayingRun:
    task = " ".join((run.task or " ".join(run.argv or ())).split())
    return {"run": run.id, "why": run.reason, "task": task}
