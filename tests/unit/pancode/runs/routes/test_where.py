"""A run begins where its owner stands in the repository, and so does another try of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from tests.unit.pancode.interfaces.http.world import World

ODD = """-a b/it's "odd"\n…"""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "repo"
    (top / ".git").mkdir(parents=True)
    (top / "web" / ODD).mkdir(parents=True)
    return top


def queued(world: World, **more: Any) -> dict[str, Any]:
    answer = world.http.post("/v1/runs", {"task": "true", "runtime": "shell", **more})
    assert answer.status_code == 201, answer.text
    told = dict(answer.json())
    assert not [text for text in told["warnings"] if "begin" in text]
    return told


@pytest.mark.parametrize("folder", ["web", f"web/{ODD}"])
def test_from_below_the_top(top: Path, tmp_path: Path, folder: str) -> None:
    world = World(tmp_path / "home")
    run = queued(world, cwd=str(top / folder))["run"]
    assert world.claim().workspace.folder == folder
    assert world.http.get(f"/v1/runs/{run}").json()["folder"] == folder


def test_by_a_link_to_it(top: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(top / "web")
    world = World(tmp_path / "home")
    queued(world, cwd=str(tmp_path / "elsewhere"))
    assert world.claim().workspace.folder == "web"


def test_from_the_top_or_without_a_repository(top: Path, tmp_path: Path) -> None:
    for number, more in enumerate(({"cwd": str(top)}, {"cwd": str(top / "web"), "workspace": "none"})):
        world = World(tmp_path / str(number))
        run = queued(world, **more)["run"]
        assert world.claim().workspace.folder == ""
        assert world.http.get(f"/v1/runs/{run}").json()["folder"] is None


def test_another_try_begins_there_too(top: Path, tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    first = queued(world, cwd=str(top / "web"))["run"]
    world.node.deliver(world.claim(), outcome=Outcome.ERROR, failure=FailureKind.AGENT_FAILED)
    world.context.turn()
    again = world.http.post(f"/v1/runs/{first}/retry")
    assert again.status_code == 201, again.text
    assert world.claim().workspace.folder == "web"


def test_another_try_does_not_begin_elsewhere(top: Path, tmp_path: Path) -> None:
    """The folder is a link now, out of the project or to its top: never quietly at the top."""
    world = World(tmp_path / "home")
    first = queued(world, cwd=str(top / "web"))["run"]
    world.node.deliver(world.claim(), outcome=Outcome.ERROR, failure=FailureKind.AGENT_FAILED)
    world.context.turn()
    (top / "web").rename(tmp_path / "moved")
    for target in (tmp_path / "moved", top):
        (top / "web").symlink_to(target)
        again = world.http.post(f"/v1/runs/{first}/retry")
        told = again.json()
        assert (again.status_code, told["exit_code"]) == (409, 7), told
        assert str(top) in told["message"]
        assert "link" in told["why"] and str(top) in told["fix"]
        assert len(world.http.get("/v1/runs").json()["runs"]) == 1
        (top / "web").unlink()
    (tmp_path / "moved").rename(top / "web")
    assert world.http.post(f"/v1/runs/{first}/retry").status_code == 201
    assert world.claim().workspace.folder == "web"


def test_a_dry_run_tells_it(top: Path, tmp_path: Path) -> None:
    asked = {"task": "true", "runtime": "shell", "cwd": str(top / "web"), "dry_run": True}
    answer = World(tmp_path / "home").http.post("/v1/runs", asked)
    assert answer.json()["folder"] == "web"
