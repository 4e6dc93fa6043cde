"""Reads the timeline of a run (`pancode why`) and the audit (`pancode audit`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from node_agent.wire.signing import PublicKey, WireRefusal, parse_envelope, verify_envelope
from pancode.kernel.declared import make_answer
from pancode.kernel.names import not_found
from pancode.kernel.pages import ListPage, ListPlace, ListSearch, read_page
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Audit, AuditAnchor, Decision, FeedEvent, Run, RunState
from pancode.reports.answers import AuditRow, AuditVerdictShape, DecisionShape, FeedShape, WhyShape
from pancode.runs import keyring
from pancode.runs.core import Core
from pancode.runs.health import words_about
from pancode.runs.life.changes import Domain
from pancode.runs.unit_of_work import ANCHOR_TYPE, judge_audit, unit_of_work
from pancode.runs.views import describe_fault, find_run


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Conditions that an entry must meet; None: no condition. `about`: a level, `run:ID` or a domain."""

    about: str | None = None
    domain: str | None = None
    level: str | None = None
    run: str | None = None
    by: str | None = None
    """The user whose action the entry records."""
    since_ms: int | None = None
    until_ms: int | None = None

    def fits(self, entry: Audit) -> bool:
        """Whether the entry's user and time meet the conditions."""
        if self.since_ms is not None and entry.at_ms < self.since_ms:
            return False
        if self.until_ms is not None and entry.at_ms >= self.until_ms:
            return False
        return self.by in (None, entry.detail.get("by"))


LEVELS = ("info", "warning", "error")
DOMAINS: tuple[str, ...] = get_args(Domain)

_ALSO = {"admission": "dispatch"}
"""Aliases of domains, and their domains."""


def explain_run(core: Core, text: str) -> WhyShape:
    """Return each gate, placement, wait, retry, stop and settlement of one run, oldest first."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        decisions = tx.find(Decision, {"run": run.id}, order="number")
        health = words_about(core, tx, run)
    known, fault = core.live.redis.fault, describe_fault(core, run)
    fault += f" ({known.why}); fix: {known.fix}" if known is not None and fault else ""
    return {
        "run": run.id,
        "now": "; ".join(filter(None, (f"{_format_state(run)}{_format_wait(run)}{fault}", health))),
        "decisions": [_make_decision(d) for d in decisions],
    }


def list_audit(core: Core, wanted: AuditFilter, limit: int, after: ListPlace | None) -> ListPage[AuditRow]:
    """Return the matching entries, newest first. NotFoundError for an unknown domain, level, run or user."""
    with core.ports.ledger.transaction() as tx:
        fits = None if (wanted.by, wanted.since_ms, wanted.until_ms) == (None, None, None) else wanted.fits
        found = read_page(tx, ListSearch(Audit, "number", _make_where(tx, wanted), fits), limit, after)
        if wanted.by is not None and not found.rows and after is None:
            names = {str(entry.detail["by"]) for entry in tx.find(Audit) if entry.detail.get("by")}
            if wanted.by not in names:
                raise not_found("user", wanted.by, names, "pancode audit")
    return ListPage([_make_row(entry) for entry in found.rows], found.last)


def audit_verdict(core: Core) -> AuditVerdictShape:
    """Check that every audit entry is unchanged, and that none is missing before the newest."""
    with core.ports.ledger.transaction() as tx:
        keys = {name: known.key for name, known in keyring.read_trusted_keys(tx).coordinators.items()}
        anchors = {row.number: _signed_head(core, row, keys) for row in tx.find(AuditAnchor)}
        verdict = judge_audit(tx.find(Audit, order="number"), anchors)
    result = "PASS" if verdict.misfit is None else "FAIL"
    misfit = {"entry": verdict.misfit, "why": verdict.why, "anchored": verdict.anchored}
    return {"verdict": result, "entries": verdict.entries, "head": verdict.head, **misfit}  # type: ignore[typeddict-item]


def verify_audit(core: Core) -> AuditVerdictShape:
    """Return `audit_verdict`; also record a broken chain in the audit, which sends notices."""
    found = audit_verdict(core)
    if found["entry"] is not None:
        with unit_of_work(core) as work:
            if work.first(f"audit:{found['entry']}"):
                detail = {"entry": found["entry"], "why": found["why"]}
                work.audit("trust", "error", "the audit chain is broken", None, **detail)
    return found


def _signed_head(core: Core, row: AuditAnchor, keys: Mapping[str, PublicKey]) -> str | None:
    """Return the digest that a key of this fleet signed for the audit entry; None: no valid signature."""
    try:
        envelope = parse_envelope(row.envelope)
        verify_envelope(envelope, keys)
        anchor = json.loads(envelope.body())
    except (WireRefusal, ValueError):
        return None
    if envelope.payloadType != ANCHOR_TYPE or not isinstance(anchor, dict):
        return None
    mine = anchor.get("fleet") == core.fleet and anchor.get("entry") == row.number
    return str(anchor.get("head")) if mine else None


def _make_where(tx: Transaction, wanted: AuditFilter) -> dict[str, object]:
    about, where = wanted.about or "", dict[str, object]()
    run = wanted.run or (about.removeprefix("run:") if about.startswith("run:") else None)
    word = _ALSO.get(about, about) if run is None or wanted.run else ""
    level = wanted.level or (word if word in LEVELS else None)
    domain = _ALSO.get(wanted.domain or "", wanted.domain) or (word if word and word not in LEVELS else None)
    if run is not None:
        where["run"] = find_run(tx, run).id
    if level is not None:
        where["level"] = _require_known("level", level, LEVELS)
    if domain is not None:
        also = (*LEVELS, *DOMAINS) if wanted.domain is None else DOMAINS
        where["domain"] = _require_known("domain", domain, also, DOMAINS)
    return where


def _require_known(kind: str, word: str, shown: tuple[str, ...], known: tuple[str, ...] | None = None) -> str:
    if word not in (known or shown):
        raise not_found(kind, word, shown, "pancode audit -h; for one run: run:RUN")
    return word


def _format_state(run: Run) -> str:
    if run.state is RunState.ENDED:
        return f"ended: {run.outcome}: {run.reason}" if run.reason else f"ended: {run.outcome}"
    return f"{run.state}: {run.reason}"


def _format_wait(run: Run) -> str:
    """Return how long the run's model calls waited for a slot, as text, by its receipt; empty: no wait."""
    calls = run.result.get("calls")
    ms = calls.get("waited_ms") if isinstance(calls, dict) else None
    if not ms:
        return ""
    return f"; its model calls waited {ms / 1000:.1f} s for a free slot of {run.endpoint or 'their server'}"


def _make_decision(decision: Decision) -> DecisionShape:
    return make_answer(DecisionShape, decision)


def _make_row(entry: Audit) -> AuditRow:
    return make_answer(AuditRow, entry)


def describe_event(one: FeedEvent) -> FeedShape:
    return make_answer(FeedShape, one)
