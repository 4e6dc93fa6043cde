"""Cases for decisions: a run with its rows, put together step by step by the decisions themselves."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from typing import Any

from node_agent.wire.control import Acknowledge
from node_agent.wire.event import EventBody
from node_agent.wire.failure import Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.policy import Isolation
from node_agent.wire.receipt import Claims, Usage, receipt_of
from node_agent.wire.signing import SigningKey
from pancode.app.features import FEATURES
from pancode.budget import books
from pancode.budget.books import BudgetScope
from pancode.kernel.records import Balance, Lease, StoredReceipt
from pancode.runs.life.binding import Admitted, Bound
from pancode.runs.life.case import Now, RunCase
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.changes import decide as decide_alone
from pancode.runs.life.node_events import NodeReported
from pancode.runs.receipts.rules import Believed
from tests.fakes.ledger import MemoryLedger
from tests.unit.pancode.runs.world import a_run

AT, TAG = 1_000_000, "aaaaaaaaaa"
DAY = "day:2026-11-22"
_ids = count()


def budget_scopes(ceiling: str = "10") -> list[BudgetScope]:
    return [BudgetScope(Balance(DAY), books.Ceilings(usd=Decimal(ceiling)))]


def admitted(**run: Any) -> RunCase:
    """A run that waits, with its hold."""
    now = Now(AT, lambda: f"e{next(_ids)}")
    return after(RunCase(a_run("r-0001", AT, Decimal(1), **run), {}, {}, (), now), Admitted(budget_scopes()))


def offered(case: RunCase) -> RunCase:
    """Bound to n1 under the next lease."""
    number = case.run.lease + 1
    lease = Lease("r-0001", case.run.attempt, number, "n1", TAG, "{}", f"{number:064x}", 1, AT, AT)
    case = after(case, Bound(lease, "free"))
    return RunCase(case.run, case.attempts, case.leases, case.entries, case.now, about=number)


def decide(case: RunCase, *signals: Signal) -> Changes:
    """What the engine decides, with what features add to it."""
    made = decide_alone(case, *signals)
    with MemoryLedger().transaction() as tx:
        for hook in FEATURES.changed:
            made = hook.act(tx, made) if hook.concerns(made) else made
    return made


def after(case: RunCase, *signals: Signal) -> RunCase:
    return decide(case, *signals).case


def said(case: RunCase, *bodies: EventBody) -> Changes:
    """These events, in order."""
    first = case.lease.cursor + 1
    return decide(case, *(NodeReported(first + n, body, AT + 5) for n, body in enumerate(bodies)))


def receipt(case: RunCase, **changes: Any) -> Believed:
    """A true one of the case's lease."""
    identity = AttemptId(run="r-0001", attempt=case.lease.attempt, lease=case.about)
    fields: dict[str, Any] = {
        "fleet": "f-test",
        "epoch": 1,
        "identity": identity,
        "node": TAG,
        "node_name": "n1",
        "order": case.lease.digest,
        "node_version": "0.1.0",
        "runtime": "shell",
        "agent": "builder",
        "prompt_digest": "0" * 64,
        "mode": case.run.mode,
        "safety": case.run.safety,
        "isolation": Isolation.NONE,
        "enforced": (),
        "outcome": Outcome.DONE,
        "reason": "exit 0",
        "usage": Usage(cost_usd=Decimal("0.10"), cost_source="reported", input_tokens=10),
        "tool_calls": {},
        "gates": (),
        "finished_wall_ms": AT,
        "files_changed": (),
        "change": "none",
        "blobs": (),
        "last_event": 0,
    }
    digest = f"{case.about:064d}"
    stored = StoredReceipt(digest, "r-0001", case.lease.attempt, case.about, TAG, "{}", AT)
    claims = Claims(**{**fields, **changes})
    mark = receipt_of(claims).signed(SigningKey(b"c" * 32)).signatures[0]
    answer = Acknowledge(identity=identity, receipt=digest, countersignature=mark)
    return Believed("n1", claims, stored, answer)
