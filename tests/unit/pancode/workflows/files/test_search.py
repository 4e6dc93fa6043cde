"""Names of workflows: the project's file counts before the home's, and that before the shipped one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from pancode.agents.agents import CHAINS
from pancode.kernel.errors import ConfigError, NotFoundError
from pancode.workflows.commands.begin import steps_of, tasks_of
from pancode.workflows.files.reader import check_workflow
from pancode.workflows.files.search import WorkflowPlaces, read_shipped, shipped_names
from tests.architecture.sources import ROOT

EIGHT = {
    *("code-review", "explore-then-build", "fix-the-tests", "parallel-review"),
    *("plan-build-verify", "red-team", "research-dev", "review-loop"),
}


@pytest.fixture
def places(tmp_path: Path) -> WorkflowPlaces:
    for folder in ("home/workflows", "shop/.pancode/workflows"):
        (tmp_path / folder).mkdir(parents=True)
    return WorkflowPlaces(tmp_path / "home", tmp_path / "shop")


def test_the_nearest_file_of_a_name_counts(places: WorkflowPlaces) -> None:
    assert places.find("review-loop").origin == "shipped"
    (places.home / "workflows/review-loop.yaml").write_text("tasks: [home]")
    assert places.find("review-loop").origin == "home"
    (places.project / ".pancode/workflows/review-loop.yml").write_text("tasks: [project]")
    found = places.find("review-loop")
    assert (found.origin, found.text) == ("project", "tasks: [project]")
    assert [one.name for one in places.all()].count("review-loop") == 1
    assert {one.name for one in places.all()} == EIGHT


def test_a_path_is_a_file_and_nothing_else(places: WorkflowPlaces, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("tasks: [a]")
    assert places.find(str(file)).name == "mine"
    with pytest.raises(NotFoundError, match="not found"):
        places.find("./review-loop")
    with pytest.raises(ConfigError, match="cannot read"):
        places.find(str(tmp_path) + "/")
    file.write_bytes(b"a\nb\xff")
    with pytest.raises(ConfigError, match="mine.yaml:2: not UTF-8"):
        places.find(str(file))


def test_every_face_tells_of_a_file_of_a_project(
    places: WorkflowPlaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (places.project / ".git").mkdir()
    mine, shadow = (
        places.home / "workflows/review-loop.yaml",
        places.project / ".pancode/workflows/review-loop.yaml",
    )
    mine.write_text("tasks: [home]")
    outside, inside, linked = (tmp_path / "a.yaml", places.project / "a.yaml", tmp_path / "linked.yaml")
    for file in (outside, inside):
        file.write_text("steps: [a]")
    linked.symlink_to(inside)
    told = [places.find(word).told() for word in ("review-loop", "red-team", str(outside), str(mine))]
    assert told == [{}] * 4
    assert [places.find(str(one)).told()["file"]["replaces"] for one in (inside, linked)] == ["", ""]
    shadow.write_text("steps: [project]")
    file = places.find("review-loop").told()["file"]
    digest = hashlib.sha256(b"steps: [project]").hexdigest()
    assert file == {"place": str(shadow), "digest": digest, "replaces": "review-loop"}
    monkeypatch.chdir(places.project)
    monkeypatch.setenv("PANCODE_HOME", str(places.home))
    assert steps_of("review-loop", "x", dict.fromkeys(("task", "argv")))["file"]["digest"] == digest
    inside.write_text("tasks: [a]")
    assert tasks_of([], "a.yaml", {})["file"]["place"] == "a.yaml"


def test_a_name_that_is_not_quite_right_gets_the_nearest(places: WorkflowPlaces) -> None:
    with pytest.raises(NotFoundError) as told:
        places.find("review-lop")
    assert "review-loop" in f"{told.value} {told.value.why} {told.value.fix}"


def test_every_file_on_the_page_about_workflows_is_right() -> None:
    page = (ROOT / "docs/howto/workflows.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    assert [str(one) for text in blocks for one in check_workflow(text, "page.yaml").problems] == []


def test_every_shipped_workflow_is_right_and_says_what_it_is_for() -> None:
    assert set(shipped_names()) == EIGHT
    for name in EIGHT:
        found = check_workflow(read_shipped(name).text, name, name)
        assert not found.problems, name
        assert found.description
        assert found.needs_input
        assert f"pancode chain {name}" in read_shipped(name).text


def test_the_chains_that_are_named_are_those_that_are_shipped() -> None:
    for agents, name in CHAINS.items():
        text = read_shipped(name).text
        found = re.findall(r"^ +agent: (\S+)$", text, re.MULTILINE)
        assert tuple(found[: len(agents)]) == agents
