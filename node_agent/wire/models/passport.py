"""A model's passport: the results of a node's test of it, and the tests that were requested."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from node_agent.wire.bounded import Few, Lasted, Name, Real, Text, WallMillis
from node_agent.wire.model import Count, WireModel

Line = Annotated[str, Text(300)]
"""Words for people, clipped by whoever wrote them."""
AskId = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class ExamCheck(StrEnum):
    """In the order in which they are made; each needs what comes before."""

    ANSWERS = "answers"
    CONTEXT = "context"
    TOOLS = "tools"
    EDITS = "edits"


class Grade(StrEnum):
    """`unknown`: it could not be found out, and `words` say why."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class CheckFact(WireModel):
    """One check. `fix`: what mends a failed one, on the machine of the model server."""

    check: ExamCheck
    grade: Grade
    words: Line
    fix: Line = ""


class PassportFact(WireModel):
    """A model as it was on its server at `taken_ms` of the node's wall clock.

    `ctx`: tokens that a call was found to get; `tok_s`: tokens of its answers in a second.
    """

    taken_ms: WallMillis
    took_ms: Lasted
    checks: Annotated[tuple[CheckFact, ...], Few(8)]
    ctx: Count | None = None
    tok_s: Real | None = None

    def of(self, check: ExamCheck) -> CheckFact | None:
        """None: it was not made."""
        return next((one for one in self.checks if one.check is check), None)


class AskState(StrEnum):
    """The progress of a test; `given up`: it found nothing new, and `words` say why."""

    WAITING = "waiting"
    TESTING = "testing"
    DONE = "done"
    GIVEN_UP = "given up"


class AskFact(WireModel):
    """A test that was asked for, until a while after its end. What it found is the model's passport."""

    ask: AskId
    endpoint: Name
    model: Name
    state: AskState
    words: Line = ""
    fix: Line = ""
