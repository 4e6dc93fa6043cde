"""Moves an agent's question to a user and its proposed tools out of its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from node_agent.attempt.context import Case
from node_agent.attempt.ports import StepFailed
from node_agent.attempt.records import ExitedData
from node_agent.attempt.verdict import Fault
from node_agent.wire.failure import FailureKind
from node_agent.wire.receipt import UserQuestion
from node_agent.wire.skill import (
    MOST_TOOL,
    MOST_TOOLS,
    TOOLS,
    ProposedTool,
    digest_of,
    mark_executable,
    pack_files,
)

QUESTION = ".pancode/question.json"
"""The question's file, relative to the folder in which the agent starts or to the checkout."""
MOST_QUESTION = 64 << 10
_MAY_ASK = (None, FailureKind.NO_ANSWER, FailureKind.AGENT_FAILED, FailureKind.NEEDS_USER)
"""The failures that a question replaces. Any other failure (a limit, a stop, a broken rule) stays."""


def take_question(
    fault: Fault | None, left: bytes, clean: Callable[[str], str]
) -> tuple[Fault | None, ExitedData]:
    """Return the failure with the question, and the data to record. `left`: the file's content."""
    if not _may_ask(fault):
        return fault, {}
    try:
        question = read_question(left)
    except ValueError as wrong:
        words = f"the agent has a question for a user, but {QUESTION} is invalid: {wrong}"
        return Fault(FailureKind.NEEDS_USER, clean(words)[:1_000]), {}
    cleaned = UserQuestion(
        question=clean(question.question), choices=tuple(clean(choice) for choice in question.choices)
    )
    return Fault(FailureKind.NEEDS_USER, f"it asks: {cleaned.question[:500]}"), {
        "question": cleaned.model_dump(mode="json")
    }


def _may_ask(fault: Fault | None) -> bool:
    return (fault.kind if fault is not None else None) in _MAY_ASK


def read_question(left: bytes) -> UserQuestion:
    """Read a question `{"question": TEXT, "choices": [TEXT, ...]}`. Raises ValueError for other data."""
    if len(left) > MOST_QUESTION:
        raise ValueError(f"it is larger than {MOST_QUESTION >> 10} KB")
    try:
        return UserQuestion.model_validate_json(left)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(": ".join(filter(None, (place, first["msg"])))) from exc


def take_outputs(
    case: Case, fault: Fault | None, *, has_worked: bool = True
) -> tuple[Fault | None, ExitedData]:
    """Move the agent's question and proposed tools out of its result, even after a failure."""
    fault, question = _with_question(case, fault) if has_worked else (fault, ExitedData())
    tools = _take_tools(case) if case.job.workspace.kind == "git" and has_worked else ExitedData()
    findings = [one for part in (question, tools) for one in part.get("findings", ())]
    every: ExitedData = {**question, **tools}
    return fault, {**every, "findings": findings} if findings else every


def _with_question(case: Case, fault: Fault | None) -> tuple[Fault | None, ExitedData]:
    """Read the agent's question to a user; an unreadable question also needs a user."""
    try:
        left = case.context.workspaces.question(case.identity, case.job.workspace)
    except StepFailed as failed:
        words = f"the agent's question to a user cannot be read: {failed}"[:1000]
        needs = Fault(FailureKind.NEEDS_USER, words) if _may_ask(fault) else fault
        return needs, {"findings": [words]}
    return (fault, {}) if left is None else take_question(fault, left, case.cleaner())


def _take_tools(case: Case) -> ExitedData:
    """Move the tools that the agent proposes for the project out of its files."""
    try:
        found = case.context.workspaces.take_tools(case.identity, case.job.workspace)
    except StepFailed as failed:
        return {"findings": [f"the tools that the agent proposes cannot be read: {failed}"[:1000]]}
    tools, findings = proposed_tools(found, case.cleaner())
    data: ExitedData = {"proposed": tools} if tools else {}
    return {**data, "findings": findings} if findings else data


def proposed_tools(
    found: Mapping[str, Mapping[str, bytes] | str], clean: Callable[[str], str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the tools that fit into a receipt, and reasons why others do not. `clean`: removes secrets."""
    accepted: list[dict[str, Any]] = []
    findings = list[str]()
    for name, files in sorted(found.items()):
        try:
            tool = _make_tool(name, files, clean)
            if len(accepted) == MOST_TOOLS:
                raise ValueError(f"an attempt may propose at most {MOST_TOOLS} tools")
            accepted.append(tool.model_dump(mode="json"))
        except ValueError as wrong:  # pydantic's ValidationError is a ValueError too
            words = (
                "a name may have small letters, digits and dashes; a tool, packed, at most "
                f"{MOST_TOOL >> 10} KB"
            )
            why = words if isinstance(wrong, ValidationError) else str(wrong)
            findings.append(f"not proposed: {TOOLS}/{clean(name)[:80]}: {why}"[:500])
    return accepted, findings[:20]


def _make_tool(name: str, files: Mapping[str, bytes] | str, clean: Callable[[str], str]) -> ProposedTool:
    """Return the tool in these files. Raises ValueError with the reason if it cannot be proposed."""
    if isinstance(files, str):
        raise ValueError(files)
    for path, data in files.items():
        text = data.decode("utf-8", "replace")
        if text.encode() != data:
            raise ValueError(f"{path!r} is not text")
        if clean(text) != text or clean(path) != path:
            raise ValueError(f"{clean(path)!r} contains the value of a secret")
    whole = mark_executable(files)
    return ProposedTool(name=name, digest=digest_of(whole), packed=pack_files(whole))
