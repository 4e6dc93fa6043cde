"""Routes of proofs: receipts, chains of nodes, keys, the audit."""

from __future__ import annotations

from typing import cast

from typing_extensions import TypedDict

from pancode.interfaces.http.access.rights import REMOVES
from pancode.interfaces.http.bodies import ReasonBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.cursors import PAGED, Cursors
from pancode.interfaces.http.routing import ApiCall, Object, Verb
from pancode.kernel.pages import MOST_ROWS
from pancode.reports.story import AuditFilter, AuditRow, AuditVerdictShape, audit, verify_audit
from pancode.runs.receipts.service import ReceiptRow, VerdictShape, chain, export, keys, receipt, receipts


class ReceiptsAnswer(TypedDict):
    receipts: list[ReceiptRow]
    next: str | None
    """The cursor of the next page; None: the list ends here."""


class KeysAnswer(TypedDict):
    keys: list[Object]


class AuditAnswer(TypedDict):
    audit: list[AuditRow]
    next: str | None
    """The cursor of the next page; None: the list ends here."""


@Verb("GET /v1/receipts", command="receipt ls", query=PAGED)
def _receipts(context: ApiContext, call: ApiCall) -> ReceiptsAnswer:
    """Receipts of the newest runs."""
    cursors, limit = Cursors(call.query, "receipts"), call.number("limit", 20, MOST_ROWS)
    page = receipts(context.core, limit, cursors.after())
    return {"receipts": page.rows, "next": cursors.next(page.last)}


@Verb("GET /v1/receipts/{run}", command="receipt show")
def _receipt(context: ApiContext, call: ApiCall) -> ReceiptRow:
    """What a receipt says."""
    return cast("ReceiptRow", receipt(context.core, call.path["run"]))


@Verb("GET /v1/chains/{node}", command="receipt verify")
def _chain(context: ApiContext, call: ApiCall) -> VerdictShape:
    """Judge the chain of its receipts."""
    return chain(context.core, call.path["node"])


@Verb("GET /v1/keys", command="key ls")
def _keys(context: ApiContext, call: ApiCall) -> KeysAnswer:
    """Every key with its dates."""
    return {"keys": keys(context.core)}


@Verb("POST /v1/keys/rotate", ReasonBody, "key rotate", pokes=True, right=REMOVES)
def _rotate(context: ApiContext, call: ApiCall) -> KeysAnswer:
    """A new key for the coordinator."""
    context.coordinator.rotate_key(call.body.by)
    return _keys(context, call)


@Verb("GET /v1/export", command="receipt export", query=("run",))
def _export(context: ApiContext, call: ApiCall) -> Object:
    """A receipt with keys, or the keys."""
    return export(context.core, call.query.get("run"))


_AUDIT = ("about", "domain", "level", "run", "by", *PAGED)


@Verb("GET /v1/audit", command="audit", query=_AUDIT)
def _audit(context: ApiContext, call: ApiCall) -> AuditAnswer:
    """What happened in the fleet."""
    limit = call.number("limit", 50, MOST_ROWS)
    wanted = AuditFilter(*(call.query.get(name) for name in ("about", "domain", "level", "run", "by")))
    cursors = Cursors(call.query, "audit", int)
    page = audit(context.core, wanted, limit, cursors.after())
    return {"audit": page.rows, "next": cursors.next(page.last)}


@Verb("GET /v1/audit/verify", command="audit")
def _verify_audit(context: ApiContext, call: ApiCall) -> AuditVerdictShape:
    """Check the audit's chain."""
    return verify_audit(context.core)
