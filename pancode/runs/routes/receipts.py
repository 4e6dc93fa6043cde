"""Routes of receipts, the nodes' receipt chains, keys and the audit."""

from __future__ import annotations

from pancode.interfaces.http.access.rights import REMOVES
from pancode.interfaces.http.bodies import ReasonBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.cursors import PAGED, Cursors
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.pages import MOST_ROWS
from pancode.reports.answers import AUDIT, AUDIT_VERDICT, AuditAnswer, AuditVerdictShape
from pancode.reports.timeline import AuditFilter, list_audit, verify_audit
from pancode.runs import answers
from pancode.runs.answers import ExportAnswer, KeysAnswer, ReceiptDetail, ReceiptsAnswer, VerdictShape
from pancode.runs.lists import moment_ms
from pancode.runs.receipts.service import export_proof, get_receipt, list_keys, list_receipts, verify_chain


@Verb(answers.RECEIPTS, command="receipt ls", query=PAGED)
def _receipts(context: ApiContext, call: ApiCall) -> ReceiptsAnswer:
    """List the receipts of the newest runs."""
    cursors, limit = Cursors(call.query, "receipts"), call.number("limit", 20, MOST_ROWS)
    page = list_receipts(context.core, limit, cursors.after())
    return {"receipts": page.rows, "next": cursors.next(page.last)}


@Verb(answers.RECEIPT, command="receipt show")
def _receipt(context: ApiContext, call: ApiCall) -> ReceiptDetail:
    """Return a receipt with its contents."""
    return get_receipt(context.core, call.path["run"])


@Verb(answers.CHAIN, command="receipt verify")
def _chain(context: ApiContext, call: ApiCall) -> VerdictShape:
    """Verify a node's chain of receipts."""
    return verify_chain(context.core, call.path["node"])


@Verb(answers.KEYS, command="admin keys")
def _keys(context: ApiContext, call: ApiCall) -> KeysAnswer:
    """List all keys with their dates."""
    return {"keys": list_keys(context.core)}


@Verb(answers.ROTATE, ReasonBody, "admin keys", pokes=True, right=REMOVES)
def _rotate(context: ApiContext, call: ApiCall[ReasonBody]) -> KeysAnswer:
    """Replace the coordinator's key with a new one."""
    context.coordinator.rotate_key(call.body.by)
    return _keys(context, call)


@Verb(answers.EXPORT, command="receipt export", query=("run",))
def _export(context: ApiContext, call: ApiCall) -> ExportAnswer:
    """Export a receipt with the keys, or only the keys."""
    return export_proof(context.core, call.query.get("run"))


_AUDIT = ("about", "domain", "level", "run", "by", "since", "until", *PAGED)


@Verb(AUDIT, command="audit", query=_AUDIT)
def _audit(context: ApiContext, call: ApiCall) -> AuditAnswer:
    """List the entries of the audit log."""
    limit = call.number("limit", 50, MOST_ROWS)
    query, now = call.query, context.core.wall_ms()
    wanted = AuditFilter(
        **{name: query.get(name) for name in ("about", "domain", "level", "run", "by")},
        since_ms=moment_ms(query["since"], now) if "since" in query else None,
        until_ms=moment_ms(query["until"], now) if "until" in query else None,
    )
    cursors = Cursors(call.query, "audit", int)
    page = list_audit(context.core, wanted, limit, cursors.after())
    return {"audit": page.rows, "next": cursors.next(page.last)}


@Verb(AUDIT_VERDICT, command="audit")
def _verify_audit(context: ApiContext, call: ApiCall) -> AuditVerdictShape:
    """Verify the digest chain of the audit log."""
    return verify_audit(context.core)
