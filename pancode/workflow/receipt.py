"""The receipt of a workflow: an in-toto statement that names the receipts of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from node_agent.wire.model import canonical_json
from pancode.core.records import Balance, Run, Workflow, WorkflowStep

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:pancode:workflow-receipt:1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def statement(
    fleet: str, workflow: Workflow, steps: Sequence[WorkflowStep], runs: Mapping[str, Run], balance: Balance
) -> dict[str, Any]:
    """What the coordinator signs at the end. Its subjects are the receipts of the runs, by digest."""
    step_rows = [_step(step, runs) for step in steps]
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


def payload(document: Mapping[str, Any]) -> bytes:
    """The one encoding that is signed."""
    return canonical_json(document)


def _step(step: WorkflowStep, runs: Mapping[str, Run]) -> dict[str, Any]:
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
