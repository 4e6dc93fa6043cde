"""What a run is shown: the change of another run, or commits, as a file that is in no result."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.errors import PancodeError
from pancode.kernel.records import Run
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.workflows.trees import Trees

FILE = ".pancode/inputs/show.diff"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home")
    made.context.depot = Trees()
    made.context.restart()
    made.node.breathe()
    return made


@pytest.fixture
def shop(tmp_path: Path) -> str:
    subprocess.run(["git", "init", "-q", str(tmp_path / "shop")], check=True)
    return str(tmp_path / "shop")


def trees(world: World) -> Trees:
    depot = world.context.depot
    assert isinstance(depot, Trees)
    return depot


def changed(world: World, shop: str, letter: str) -> str:
    """A run that has changed something."""
    run = str(world.dispatch(workspace="git", cwd=shop)["run"])
    job = world.claim()
    world.node.start(job)
    trees(world).commits.add(letter * 40)
    world.node.deliver(job, commit=letter * 40, change="change", files_changed=("a",))
    world.context.turn()
    return run


def asked(world: World, shop: str, show: str | None, **more: Any) -> Run:
    wanted = {} if show is None else {"show": show}
    run: Run = world.context.row(Run, str(world.dispatch(workspace="git", cwd=shop, **wanted, **more)["run"]))
    return run


def test_the_change_of_a_run_lies_in_the_checkout(world: World, shop: str) -> None:
    trees(world).patches["b" * 40] = {"a": b"-old\n+new\n"}
    old = changed(world, shop, "b")
    for name in ("last", old):
        run = asked(world, shop, name, runtime="claude")
        made = trees(world).composed[-1]
        assert (made.files, made.folder, made.run) == ({FILE: b"-old\n+new\n"}, ".pancode/inputs", run.id)
        assert run.task.endswith(f"is in {FILE}.)") and run.terms["origin"] == made.origin
        assert run.workspace["snapshot"] != made.origin, "it begins with the file, its change does not"
        world.http.post(f"/v1/runs/{run.id}/stop", {"by": "ana"})


def test_commits_are_shown_by_their_range(world: World, shop: str) -> None:
    script = asked(world, shop, "HEAD~3..HEAD")
    assert trees(world).composed[-1].files == {FILE: b"commits HEAD~3..HEAD"}
    assert FILE not in script.task, "words of ours would be a part of a script"


@pytest.mark.parametrize(
    ("task", "since"),
    [
        ("Review the last 3 commits for security issues", "HEAD~3"),
        ("Look at the latest commit", "HEAD~1"),
        ("check the last two commits", "HEAD~2"),
        ("Review my uncommitted changes", "HEAD"),
        ("Review src/auth for style", ""),
        ("Explain how commits are signed", ""),
    ],
)
def test_who_only_looks_is_shown_what_its_task_names(world: World, shop: str, task: str, since: str) -> None:
    made = trees(world)
    run = asked(world, shop, None, task=task, agent="reviewer", runtime="claude")
    assert [one.files for one in made.composed] == ([{FILE: f"commits {since}".encode()}] if since else [])
    assert (FILE in run.task) is bool(since)
    builder = asked(world, shop, None, task=task, agent="builder", runtime="claude")
    assert FILE not in builder.task, "it has git"


def test_commits_that_a_task_names_and_that_are_not_there_are_no_error(world: World, shop: str) -> None:
    trees(world).without_history = PancodeError("there are not so many", fix="pancode runs")
    run = asked(world, shop, None, task="Review the last 90 commits", agent="reviewer", runtime="claude")
    assert FILE not in run.task
    refused = {
        "task": "x",
        "runtime": "shell",
        "workspace": "git",
        "by": "ana",
        "cwd": shop,
        "show": "HEAD~90",
    }
    assert "there are not so many" in world.problem("POST", "/v1/runs", refused)["message"]


def test_what_cannot_be_shown_is_refused_before_a_run_begins(world: World, shop: str) -> None:
    old = changed(world, shop, "c")
    body = {"task": "x", "runtime": "shell", "workspace": "git", "by": "ana", "cwd": shop}
    none = world.problem("POST", "/v1/runs", {**body, "show": old})
    assert old in none["message"]
    elsewhere = str(world.dispatch()["run"])
    other = world.problem("POST", "/v1/runs", {**body, "show": elsewhere})
    assert "cannot be shown here" in other["message"] and "worked in" in other["why"] and other["fix"]
