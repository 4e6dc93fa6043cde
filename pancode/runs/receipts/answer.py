"""The complete answer of a run: a receipt has only the beginning of a long answer, a file the rest."""

from __future__ import annotations

from node_agent.wire.identity import AttemptId
from node_agent.wire.receipt import Claims
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Lease, Run
from pancode.runs.core import Core

CLIPPED = 4_000
"""Answers with at least this many characters are cut in the receipt; a file has the complete answer."""


def claimed_answer(core: Core, claims: Claims) -> str:
    """Return the complete answer that a receipt claims, with the part that was cut from a long one."""
    whole = None
    if len(claims.answer) >= CLIPPED:
        whole = core.ports.depot.whole_answer(claims.identity, False)
    return claims.answer if whole is None else whole.decode(errors="replace")


def whole_answer(core: Core, tx: Transaction, run: Run) -> str:
    """Return the complete answer of the run. If the receipt has only its beginning, read it from the script's
    output or a separate file."""
    answer = str(run.result.get("answer") or "")
    if len(answer) < CLIPPED:
        return answer
    leases = tx.find(Lease, {"run": run.id})
    for lease in (f for f in leases if f.receipt is not None and f.receipt == run.result.get("receipt")):
        identity = AttemptId(run=run.id, attempt=lease.attempt, lease=lease.lease)
        whole = core.ports.depot.whole_answer(identity, run.runtime == "shell")
        if whole is not None:
            return whole.decode(errors="replace").strip()
    return answer
