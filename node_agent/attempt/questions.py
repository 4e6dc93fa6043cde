"""Reads the question that an agent has left for a person, and decides how the attempt ends with it. Pure."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from node_agent.attempt.markdata import ExitedData
from node_agent.attempt.verdict import Fault
from node_agent.wire.failure import FailureKind
from node_agent.wire.receipt import PersonQuestion

FILE = ".pancode/question.json"
"""Below the folder in which the agent begins, or the checkout's top."""
MOST_BYTES = 64 << 10
_MAY_ASK = (None, FailureKind.NO_ANSWER, FailureKind.AGENT_FAILED, FailureKind.NEEDS_PERSON)
"""The failures that a question explains. A limit, a stop or a broken rule stands, whatever the agent asks."""


def asked(fault: Fault | None, left: bytes, clean: Callable[[str], str]) -> tuple[Fault | None, ExitedData]:
    """The end with the question, and what the record keeps of it. `clean`: takes secrets out of a text."""
    if (fault.kind if fault is not None else None) not in _MAY_ASK:
        return fault, {}
    try:
        question = read_question(left)
    except ValueError as wrong:
        words = f"it asks a person, and {FILE} is not of the form that is known: {wrong}"
        return Fault(FailureKind.NEEDS_PERSON, clean(words)[:1_000]), {}
    cleaned = PersonQuestion(
        question=clean(question.question), choices=tuple(clean(choice) for choice in question.choices)
    )
    return Fault(FailureKind.NEEDS_PERSON, f"it asks: {cleaned.question[:500]}"), {
        "question": cleaned.model_dump(mode="json")
    }


def read_question(left: bytes) -> PersonQuestion:
    """ValueError in words where it is not `{"question": TEXT, "choices": [TEXT, ...]}`, within its bounds."""
    if len(left) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 10} KB")
    try:
        return PersonQuestion.model_validate_json(left)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(": ".join(filter(None, (place, first["msg"])))) from exc
