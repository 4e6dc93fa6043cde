"""Shows and checks the signed summary of a workflow, with the receipts that it names."""

from __future__ import annotations

import json

from node_agent.wire.signing import Envelope, WireRefusal, parse_envelope
from node_agent.wire.signing import verify as verify_envelope
from pancode.control import keyring
from pancode.control.core import Core
from pancode.control.shapes import CheckShape, Json, VerdictShape
from pancode.control.surroundings import Streams
from pancode.core.ports import Transaction
from pancode.core.records import Run, StoredReceipt
from pancode.errors import NotFoundError
from pancode.life.verification import ReceiptVerdict, TrustedKeys, not_found
from pancode.runs import receipts
from pancode.work.workflow import rows


def receipt(core: Core, text: str) -> Json:
    """The signed summary of an ended workflow, judged: its signature, and the receipts that it names."""
    with core.ports.ledger.transaction() as tx:
        workflow, keys = rows.find(tx, text), keyring.trusted(tx)
        if workflow.receipt is None:
            raise NotFoundError(
                f"{workflow.id} has no receipt yet",
                why=f"it is {workflow.state}; a receipt is signed when it has ended",
                fix=f"pancode workflow show {workflow.id}",
                code="receipt_not_found",
            )
        envelope = parse_envelope(workflow.receipt)
        said: Json = json.loads(envelope.body())
        checks = [_signed(envelope, keys), *(_held(tx, one) for one in said["subject"])]
    good = all(check["ok"] for check in checks)
    verdict = ReceiptVerdict.PASS if good else ReceiptVerdict.TAMPERED
    told: Json = {"workflow": workflow.id, "state": workflow.state.value, "verdict": verdict.value}
    return {**told, "checks": checks, "statement": said, "envelope": envelope.model_dump(mode="json")}


def verify(core: Core, text: str, streams: Streams) -> VerdictShape:
    """PASS where its signature and every receipt that it names hold, and none is left out.

    NotFoundError for an unknown workflow.
    """
    with core.ports.ledger.transaction() as tx:
        workflow = rows.find(tx, text)
        runs = tx.find(Run, {"workflow": workflow.id})
    if workflow.receipt is None:
        return receipts.shape(workflow.id, not_found(f"{workflow.id} has not ended: {workflow.state}"))
    told = receipt(core, workflow.id)
    statement: Json = told["statement"]
    checks: list[CheckShape] = [*told["checks"], _is_of(workflow.id, statement)]
    named = [str(one["name"]) for one in statement["subject"]]
    checks += [_of_run(receipts.verify(core, name, streams)) for name in named]
    checks += [_named(run, named) for run in runs if run.result.get("receipt") is not None]
    good = all(check["ok"] for check in checks)
    verdict = ReceiptVerdict.PASS if good else ReceiptVerdict.TAMPERED
    return {"run": workflow.id, "verdict": verdict.value, "checks": checks}


def _is_of(workflow: str, statement: Json) -> CheckShape:
    named = str(statement["predicate"]["workflow"])
    return {"what": "is of this workflow", "ok": named == workflow, "detail": named}


def _of_run(judged: VerdictShape) -> CheckShape:
    ok = judged["verdict"] == ReceiptVerdict.PASS
    wrong = [f"{check['what']}: {check['detail']}" for check in judged["checks"] if not check["ok"]]
    words = "; ".join([judged["verdict"], *wrong])
    return {"what": f"the receipt of {judged['run']} holds", "ok": ok, "detail": words}


def _named(run: Run, named: list[str]) -> CheckShape:
    """A run that ended after the workflow, as one of unknown whereabouts may, is named by no statement."""
    ok = run.id in named
    return {"what": f"{run.id} is named", "ok": ok, "detail": f"it ended as {run.outcome}"}


def _signed(envelope: Envelope, keys: TrustedKeys) -> CheckShape:
    what = "signed by the coordinator"
    try:
        signer = verify_envelope(envelope, {name: known.key for name, known in keys.coordinators.items()})
    except WireRefusal as refusal:
        return {"what": what, "ok": False, "detail": refusal.detail}
    return {"what": what, "ok": True, "detail": f"key {signer.tag}"}


def _held(tx: Transaction, subject: Json) -> CheckShape:
    """Whether the ledger has that receipt; `pancode receipt verify RUN` judges it."""
    digest = str(subject["digest"]["sha256"])
    stored = tx.get(StoredReceipt, digest)
    ok = stored is not None and stored.run == subject["name"]
    return {"what": f"the receipt of {subject['name']} is here", "ok": ok, "detail": digest}
