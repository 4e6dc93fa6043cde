"""Takes what an agent has left for others out of its result: its question to a person, and its board."""

from __future__ import annotations

from node_agent.attempt.board import written
from node_agent.attempt.markdata import ExitedData
from node_agent.attempt.ports import StepFailed
from node_agent.attempt.procedure.context import Case
from node_agent.attempt.questions import asked
from node_agent.attempt.verdict import Fault


def taken(case: Case, fault: Fault | None, *, has_worked: bool = True) -> tuple[Fault | None, ExitedData]:
    """The agent's question and its board, which are in no result, however it has ended."""
    fault, question = _with_question(case, fault) if has_worked else (fault, ExitedData())
    board = _board(case) if case.order.board is not None else ExitedData()
    findings = [*question.get("findings", ()), *board.get("findings", ())]
    both: ExitedData = {**question, **board}
    return fault, {**both, "findings": findings} if findings else both


def _with_question(case: Case, fault: Fault | None) -> tuple[Fault | None, ExitedData]:
    """The agent's question to a person; a question file that cannot be read is a finding."""
    try:
        left = case.context.workspaces.question(case.identity, case.order.workspace)
    except StepFailed as failed:
        return fault, {"findings": [f"what it asks a person cannot be read: {failed}"[:1000]]}
    return (fault, {}) if left is None else asked(fault, left, case.cleaner())


def _board(case: Case) -> ExitedData:
    """The values that the agent has written for the other workers of its workflow."""
    try:
        found = case.context.workspaces.take_board(case.identity, case.order.workspace)
    except StepFailed as failed:
        return {"findings": [f"the board cannot be read: {failed}"[:1000]]}
    entries, findings = written(found, case.order.board or (), case.cleaner())
    return {"board": entries, "findings": findings}
