"""A workflow's receipt, which lists its runs' receipts: how it is signed at the end, shown and verified."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from node_agent.wire.model import canonical_json
from node_agent.wire.signing import Envelope, WireRefusal, parse_envelope, verify_envelope
from pancode.budget import books
from pancode.kernel.errors import NotFoundError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Balance, Run, StoredReceipt, Workflow, WorkflowStep
from pancode.kernel.values import replace
from pancode.runs import keyring
from pancode.runs.answers import CheckShape, Json, VerdictShape
from pancode.runs.core import Core
from pancode.runs.receipts import service as receipts
from pancode.runs.receipts.verification import ReceiptVerdict, TrustedKeys, not_found
from pancode.runs.unit_of_work import Work
from pancode.runs.user_environment import Streams
from pancode.workflows import store as rows
from pancode.workflows.answers import WorkflowReceipt
from pancode.workflows.rules import Advance

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:pancode:workflow-receipt:1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def build_statement(
    fleet: str, workflow: Workflow, steps: Sequence[WorkflowStep], runs: Mapping[str, Run], balance: Balance
) -> dict[str, Any]:
    """Return the statement the coordinator signs for the workflow; its subjects are the runs' receipts."""
    step_rows = [_describe_step(step, runs) for step in steps]
    subjects = [
        {"name": run["run"], "digest": {"sha256": run["receipt"]}}
        for step in step_rows
        for run in step["runs"]
        if run["receipt"] is not None
    ]
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "fleet": fleet,
            "workflow": workflow.id,
            "kind": workflow.kind.value,
            "name": workflow.name,
            "created_by": workflow.created_by,
            "created_wall_ms": workflow.created_ms,
            "finished_wall_ms": workflow.finished_ms,
            "state": workflow.state.value,
            "reason": workflow.reason,
            "winner": workflow.winner,
            "steps": step_rows,
            "cost_usd": f"{balance.spent_usd:f}",
            "unknown_costs": balance.unknown_runs,
            "disputed_usd": f"{balance.disputed_usd:f}",
            "tokens": balance.tokens,
        },
    }


def _describe_step(step: WorkflowStep, runs: Mapping[str, Run]) -> dict[str, Any]:
    return {
        "name": step.name,
        "needs": list(step.needs),
        "state": step.state.value,
        "reason": step.reason,
        "round": step.round,
        "runs": [_run(runs[name]) for name in step.runs if name in runs],
    }


def _run(run: Run) -> dict[str, Any]:
    digest = run.result.get("receipt")
    return {
        "run": run.id,
        "outcome": run.outcome.value if run.outcome is not None else None,
        "commit": run.result.get("commit"),
        "receipt": digest if isinstance(digest, str) else None,
    }


def sign_summary(work: Work, made: Advance) -> Advance:
    """Return the workflow with its signed summary if it has ended; else return it unchanged."""
    if not made.ended:
        return made
    core, workflow = work.core, made.workflow
    runs = {run.id: run for run in work.tx.find(Run, {"workflow": workflow.id})}
    scope = books.workflow_scope(workflow.id)
    balance = work.tx.get(Balance, scope) or Balance(scope)
    summary = build_statement(core.fleet, workflow, made.steps, runs, balance)
    envelope = core.key.sign(PAYLOAD_TYPE, canonical_json(summary))
    return replace(made, workflow=replace(workflow, receipt=envelope.model_dump_json()))


def get_workflow_receipt(core: Core, text: str) -> WorkflowReceipt:
    """Return an ended workflow's signed summary, with checks of its signature and the receipts it names."""
    with core.ports.ledger.transaction() as tx:
        workflow, keys = rows.find_workflow(tx, text), keyring.read_trusted_keys(tx)
        if workflow.receipt is None:
            raise NotFoundError(
                f"{workflow.id} has no receipt yet",
                why=f"it is {workflow.state}; its receipt is signed when it ends",
                fix=f"pancode workflow show {workflow.id}",
                code="receipt_not_found",
            )
        envelope = parse_envelope(workflow.receipt)
        statement: Json = json.loads(envelope.body())
        checks = [_check_signature(envelope, keys), *(_check_held(tx, one) for one in statement["subject"])]
    good = all(check["ok"] for check in checks)
    verdict = ReceiptVerdict.PASS if good else ReceiptVerdict.TAMPERED
    return {
        "workflow": workflow.id,
        "state": workflow.state.value,
        "verdict": verdict.value,
        "checks": checks,
        "statement": statement,
        "envelope": envelope.model_dump(mode="json"),
    }


def verify_workflow(core: Core, text: str, streams: Streams) -> VerdictShape:
    """Return PASS if the signature and all receipts named in the summary are valid and none is missing.
    NotFoundError for an unknown workflow."""
    with core.ports.ledger.transaction() as tx:
        workflow = rows.find_workflow(tx, text)
        runs = tx.find(Run, {"workflow": workflow.id})
    if workflow.receipt is None:
        return receipts.describe_verdict(
            workflow.id, not_found(f"{workflow.id} has not ended: {workflow.state}")
        )
    receipt = get_workflow_receipt(core, workflow.id)
    statement: Json = receipt["statement"]
    checks: list[CheckShape] = [*receipt["checks"], _is_of(workflow.id, statement)]
    named = [str(one["name"]) for one in statement["subject"]]
    checks += [_of_run(receipts.verify_run(core, name, streams)) for name in named]
    checks += [_check_name(run, named) for run in runs if run.result.get("receipt") is not None]
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
    return {"what": f"the receipt of {judged['run']} is valid", "ok": ok, "detail": words}


def _check_name(run: Run, named: list[str]) -> CheckShape:
    """Check that the statement names the run; it cannot name a run that ended after the workflow, such as a
    lost one."""
    ok = run.id in named
    return {"what": f"{run.id} is named", "ok": ok, "detail": f"its outcome is {run.outcome}"}


def _check_signature(envelope: Envelope, keys: TrustedKeys) -> CheckShape:
    what = "signed by the coordinator"
    try:
        signer = verify_envelope(envelope, {name: known.key for name, known in keys.coordinators.items()})
    except WireRefusal as refusal:
        return {"what": what, "ok": False, "detail": refusal.detail}
    return {"what": what, "ok": True, "detail": f"key {signer.tag}"}


def _check_held(tx: Transaction, subject: Json) -> CheckShape:
    """Check that the ledger has this receipt; `pancode receipt verify RUN` verifies the receipt itself."""
    digest = str(subject["digest"]["sha256"])
    stored = tx.get(StoredReceipt, digest)
    ok = stored is not None and stored.run == subject["name"]
    return {"what": f"the receipt of {subject['name']} is in the ledger", "ok": ok, "detail": digest}
