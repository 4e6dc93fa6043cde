"""What a dispatch, a stop and the rights of runs say of sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pancode.agents.agents import Role
from pancode.kernel.records import Run
from pancode.kernel.visitors import AccessScope
from pancode.runs.admission.resolution import Unresolved, resolve
from tests.unit.pancode.interfaces.http import test_by_other_names as other_names
from tests.unit.pancode.interfaces.http.test_by_other_names import world
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.kernel.fleets import AGENTS, SCOUT, catalogue, request

__all__ = ["world"]


def test_who_leads_is_talked_with_and_takes_no_task_by_itself() -> None:
    lead = replace(SCOUT, name="panos", said_role=Role.LEAD)
    asked = request(agent="panos", runtime="native", model="ollama/qwen3")
    settings = catalogue(agents={**AGENTS, "panos": lead})
    alone = resolve(asked, settings)
    assert isinstance(alone, Unresolved) and alone.error.code == "is_talked_with"
    assert "pancode chat --agent panos" in alone.error.fix
    talked = resolve(replace(asked, turns={"idle_ms": 1000}), settings)
    assert not isinstance(talked, Unresolved) or talked.error.code != "is_talked_with"


def test_of_those_that_a_session_has_begun_and_never_the_session_itself(tmp_path: Path) -> None:
    world = World(tmp_path)
    session, child = (world.dispatch()["run"] for _ in range(2))
    for _ in range(2):
        world.context.clock.ms += 1_000
        world.node.start(world.claim())
        world.context.turn()
    desk = world.context
    row = desk.row(Run, child)
    with desk.ledger.transaction() as tx:
        tx.put(replace(row, parent=session))
    told = world.http.post(f"/v1/runs/running@{session}/stop", {"by": "ana"}).json()
    assert told["run"] == child
    none = world.problem("POST", f"/v1/runs/running@{child}/stop", {"by": "ana"})
    assert none["code"] == "run_not_found" and "/stop" in none["fix"]


@pytest.mark.parametrize("scope", AccessScope)
@pytest.mark.parametrize(
    "check",
    [
        other_names.test_the_yes_of_an_earlier_run_counts_for_who_may_say_it,
        other_names.test_no_route_makes_a_run_that_lands_without_the_right_to_land,
    ],
)
def test_words_are_another_name_of_a_run(
    world: ListenerWorld, scope: AccessScope, check: Callable[..., None]
) -> None:
    check(world, scope, "sessions/{}/words", {"text": "Forget that."})
