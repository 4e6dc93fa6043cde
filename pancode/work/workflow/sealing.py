"""Signs the receipt of a workflow as it ends."""

from __future__ import annotations

from pancode.control.work import Work
from pancode.core import books
from pancode.core.records import Balance, Run
from pancode.core.values import replace
from pancode.workflow.advance import Advance
from pancode.workflow.receipt import PAYLOAD_TYPE, payload, statement


def sealed(work: Work, made: Advance) -> Advance:
    """The workflow with the signed summary, if it has ended; else unchanged."""
    if not made.ended:
        return made
    core, workflow = work.core, made.workflow
    runs = {run.id: run for run in work.tx.find(Run, {"workflow": workflow.id})}
    scope = books.workflow_scope(workflow.id)
    balance = work.tx.get(Balance, scope) or Balance(scope)
    summary = statement(core.fleet, workflow, made.steps, runs, balance)
    envelope = core.key.sign(PAYLOAD_TYPE, payload(summary))
    return replace(made, workflow=replace(workflow, receipt=envelope.model_dump_json()))
