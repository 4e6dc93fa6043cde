"""What an orchestrator asked for, as a shape, against what each request of the table expects."""

from __future__ import annotations

import pytest

from node_agent.wire.endpoint import Grade
from pancode.kernel.errors import NotFoundError
from pancode.sessions.rehearsal_rules import (
    REQUESTS,
    RehearsedCall,
    RehearsedStep,
    agents_of,
    graded,
    levels,
    request_named,
    shape_of,
)

BUILDER, REVIEWER = RehearsedStep("builder", reads=False), RehearsedStep("reviewer", reads=True)
WAITS, SCOUTS = RehearsedCall("wait", waits=True), RehearsedCall("explore")


def begins(*steps: RehearsedStep) -> RehearsedCall:
    return RehearsedCall("dispatch", steps)


def chain(*steps: RehearsedStep) -> RehearsedCall:
    found = [RehearsedStep(one.agent, one.reads, at) for at, one in enumerate(steps)]
    return RehearsedCall("dispatch_chain", tuple(found))


@pytest.mark.parametrize(
    ("calls", "shape"),
    [
        ([], "nothing"),
        ([SCOUTS, WAITS], "nothing"),
        ([begins(BUILDER), begins(REVIEWER)], "reads + writes"),
        ([begins(BUILDER), WAITS, begins(REVIEWER)], "writes, then reads"),
        ([begins(REVIEWER), SCOUTS, begins(BUILDER), WAITS, WAITS], "reads + writes"),
        ([chain(REVIEWER, BUILDER, REVIEWER)], "reads, then writes, then reads"),
        ([begins(REVIEWER), chain(BUILDER, REVIEWER)], "reads + writes, then reads"),
        ([chain(REVIEWER, BUILDER), WAITS, begins(REVIEWER)], "reads, then writes, then reads"),
        ([begins(REVIEWER, REVIEWER, REVIEWER)], "reads + reads + reads"),
    ],
)
def test_what_is_begun_before_a_wait_is_side_by_side(calls: list[RehearsedCall], shape: str) -> None:
    assert shape_of(calls) == shape


def test_a_step_is_behind_the_last_one_that_it_needs() -> None:
    assert levels([("a", []), ("b", []), ("c", ["a", "b"]), ("d", ["c"]), ("e", ["a"])]) == [0, 0, 1, 2, 1]


def test_the_shape_decides_and_a_turn_that_was_cut_says_nothing() -> None:
    request = request_named("side-by-side")
    good, bad = [begins(BUILDER), begins(REVIEWER)], [begins(BUILDER)]
    assert (graded(request, good), graded(request, bad)) == (Grade.PASSED, Grade.FAILED)
    assert graded(request, bad, "its money was used up") is Grade.UNKNOWN
    assert agents_of([begins(BUILDER), WAITS, begins(REVIEWER)]) == "builder, then reviewer"
    assert graded(request_named("question"), [SCOUTS]) is Grade.PASSED


def test_the_table_names_each_request_once_and_expects_shapes_that_there_are() -> None:
    assert len({one.name for one in REQUESTS}) == len(REQUESTS)
    kinds = {
        kind for one in REQUESTS for shape in one.expected for kind in shape.replace("then ", "").split()
    }
    assert {kind.strip(",") for kind in kinds} == {"reads", "writes", "+", "nothing"}
    with pytest.raises(NotFoundError):
        request_named("chains")
