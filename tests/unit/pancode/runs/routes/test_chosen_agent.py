"""A run that failed because its chosen agent may not write says who was chosen, why, and what helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.kernel.records import Decision
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import failed

WHY = "the task begins with “Check”"


@pytest.mark.parametrize(("chosen", "read_only"), [(True, True), (False, True), (True, False)])
def test_only_a_choice_of_an_agent_that_may_not_write_is_explained(
    tmp_path: Path, chosen: bool, read_only: bool
) -> None:
    world = World(tmp_path)
    world.context.dispatch("r-0001", agent="reviewer", read_only=read_only)
    if chosen:
        with world.context.ledger.transaction() as tx:
            tx.insert(Decision("r-0001", 50, 0, "agent", "reviewer", "chosen", WHY))
    world.context.turn()
    world.node.carry_out(**failed(FailureKind.TOOL_DENIED, Outcome.ERROR))
    world.node.breathe()
    found = [one for one in world.http.get("/v1/runs/r-0001").json()["findings"] if "may not change" in one]
    assert bool(found) == (chosen and read_only)
    for one in found:
        assert "agent reviewer" in one and WHY in one and "pancode dispatch --agent builder" in one
