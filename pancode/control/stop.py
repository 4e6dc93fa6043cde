"""Stop a run: at once while it only waits, else by a signed word to its node, which must confirm."""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire.control import Stop
from node_agent.wire.failure import FailureKind, Outcome
from pancode.control import landed
from pancode.control.core import Core, open_fences
from pancode.domain import books
from pancode.domain.lifecycle import NOT_STARTED, end_attempt, end_run, move_run
from pancode.domain.orders import identity_of
from pancode.domain.records import Attempt, Entry, Fence, Node, Run, RunState
from pancode.errors import NotFoundError
from pancode.ports import Transaction


def stop(core: Core, run_id: str, reason: str) -> Run:
    """Ask for the end of a run; returns it as it is then. Of an ended one, its landing is called off."""
    with core.ports.ledger.transaction() as tx:
        run = tx.get(Run, run_id)
        if run is None:
            raise NotFoundError(f"no run {run_id}", fix="pancode runs")
        _stop_lost(core, tx, run, reason)
        if run.state is RunState.ENDED:
            landed.call_off(core, tx, run, reason)
            return tx.get(Run, run_id) or run
        fences = open_fences(tx, run=run_id)
        core.tell(tx, run_id, "stop", "stop", "asked", reason)
        return _ask(core, tx, run, fences, reason) if fences else _end_waiting(core, tx, run, reason)


def _ask(core: Core, tx: Transaction, run: Run, fences: list[Fence], reason: str) -> Run:
    for fence in fences:
        if fence.stop_seq == 0:
            seq = _send(core, tx, fence, reason)
            tx.put(replace(fence, stop_seq=seq))
    asked = replace(
        run, stop_asked=run.stop_asked or reason, reason=f"stop asked, not confirmed: {reason}", waits=None
    )
    asked = move_run(asked, RunState.INTERRUPTING)
    tx.put(asked)
    return asked


def _send(core: Core, tx: Transaction, fence: Fence, reason: str) -> int:
    node = tx.get(Node, fence.node)
    return core.issue(tx, node, Stop(identity=identity_of(fence), reason=reason)) if node is not None else 0


def _end_waiting(core: Core, tx: Transaction, run: Run, reason: str) -> Run:
    """Nothing was signed, so nothing can be running: over at once, the hold given back."""
    attempt = tx.get(Attempt, run.id, run.attempt) or Attempt(run.id, run.attempt, core.wall_ms(), books.ZERO)
    ended = end_attempt(attempt, Outcome.INTERRUPTED, FailureKind.STOPPED, reason, core.wall_ms())
    tx.put(replace(ended, usage=NOT_STARTED))
    account = books.Account(run.id, run.attempt)
    core.book(tx, books.release(tx.find(Entry, {"run": run.id}), account, core.stamp(), "stopped"))
    over = end_run(replace(run, stop_asked=reason), ended, {}, core.wall_ms())
    core.put_ended(tx, over)
    return over


def _stop_lost(core: Core, tx: Transaction, run: Run, reason: str) -> None:
    """`lost, still running on X` can be stopped, also beside a later attempt: the word waits for the node."""
    for fence in tx.find(Fence, {"run": run.id}):
        if fence.closed == "lost" and fence.receipt is None and fence.stop_seq == 0:
            tx.put(replace(fence, stop_seq=_send(core, tx, fence, reason)))
            core.tell(tx, run.id, "stop", fence.node, "asked", reason)
