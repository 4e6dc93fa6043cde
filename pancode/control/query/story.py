"""The story of a run and the audit: `why` and `audit`."""

from __future__ import annotations

from typing import get_args

from pancode.control.core import Core
from pancode.control.query.run import at, find_run
from pancode.control.query.shapes import AuditRow, DecisionShape, FeedShape, WhyShape
from pancode.domain.life.changes import Domain
from pancode.domain.names import not_found
from pancode.domain.records import Audit, Decision, FeedEvent, Run, RunState

LEVELS = ("info", "warning", "error")
DOMAINS: tuple[str, ...] = get_args(Domain)


_ALSO = {"dispatch": "admission"}
"""Other names of domains."""


def why(core: Core, text: str) -> WhyShape:
    """Each gate, placement, wait, retry, stop and settlement of one run, oldest first."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        told = tx.find(Decision, {"run": run.id}, order="number")
    return {"run": run.id, "now": f"{_now(run)}{_waited(run)}", "decisions": [_decision(d) for d in told]}


def audit(core: Core, about: str | None, limit: int) -> list[AuditRow]:
    """The newest entries, newest first; `about`: a level, `run:ID` or a domain. NotFoundError for another."""
    about = _ALSO.get(about or "", about)
    if about is not None and about not in (*LEVELS, *DOMAINS) and not about.startswith("run:"):
        raise not_found("domain", about, (*LEVELS, *DOMAINS), "pancode audit -h; of one run: run:RUN")
    with core.ports.ledger.transaction() as tx:
        where: dict[str, object] = {}
        if about is not None and about.startswith("run:"):
            where = {"run": find_run(tx, about.removeprefix("run:")).id}
        elif about is not None:
            where = {"level" if about in LEVELS else "domain": about}
        found = tx.find(Audit, where, order="number", descending=True, limit=limit)
    return [_row(entry) for entry in found]


def _now(run: Run) -> str:
    if run.state is RunState.ENDED:
        return f"ended: {run.outcome}: {run.reason}" if run.reason else f"ended: {run.outcome}"
    return f"{run.state}: {run.reason}"


def _waited(run: Run) -> str:
    """As its receipt tells it."""
    calls = run.result.get("calls")
    ms = calls.get("waited_ms") if isinstance(calls, dict) else None
    if not ms:
        return ""
    return f"; its model calls waited {ms / 1000:.1f} s for a free slot of {run.endpoint or 'their server'}"


def _decision(decision: Decision) -> DecisionShape:
    return {
        "at": at(decision.at_ms),
        "kind": decision.kind,
        "what": decision.what,
        "verdict": decision.verdict,
        "detail": decision.detail,
    }


def _row(entry: Audit) -> AuditRow:
    return {
        "number": entry.number,
        "at": at(entry.at_ms),
        "domain": entry.domain,
        "level": entry.level,
        "what": entry.what,
        "run": entry.run,
        "detail": dict(entry.detail),
    }


def event(one: FeedEvent) -> FeedShape:
    return {
        "number": one.number,
        "at": at(one.at_ms),
        "kind": one.kind.value,
        "run": one.run,
        "node": one.node,
        "data": dict(one.data),
    }
