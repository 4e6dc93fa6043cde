"""The change of a supervised agent is landed by hand alone."""

from __future__ import annotations

from pathlib import Path

from tests.unit.pancode.agents.routes.test_agents import mine, world
from tests.unit.pancode.interfaces.http.world import World

__all__ = ["world"]


def test_a_supervised_agents_change_is_landed_by_hand_alone(world: World, tmp_path: Path) -> None:
    (tmp_path / "repo/.git").mkdir(parents=True)
    mine(world, "agents: {builder: {autonomy: supervised}}")
    body = {"task": "true", "runtime": "shell", "cwd": str(tmp_path / "repo")}
    told = world.problem("POST", "/v1/runs", {**body, "land": True})
    assert (told["exit_code"], told["code"]) == (5, "refused_agent")
    assert "builder is supervised" in told["message"] and "pancode land" in told["fix"]
