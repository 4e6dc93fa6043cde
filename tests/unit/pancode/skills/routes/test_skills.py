"""Skills of a project: in the job by digest, told in the run's timeline, held against its receipt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.control import Reject
from node_agent.wire.job import Job
from node_agent.wire.skill import SkillMark
from tests.unit.pancode.interfaces.http.world import World

TEXT = "---\nname: deploy\ndescription: Deploy it.\n---\nDo it.\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    put(tmp_path / "shop" / ".agents/skills/deploy", TEXT)
    return tmp_path / "shop"


def put(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(text)


def begun(world: World, top: Path, **more: Any) -> Job:
    body = {"task": "Deploy.", "agent": "builder", "runtime": "claude", "cwd": str(top), **more}
    answer = world.http.post("/v1/runs", body)
    assert answer.status_code == 201, answer.text
    return world.claim()


def test_the_job_has_their_bytes_and_the_receipt_their_digests(world: World, top: Path) -> None:
    job = begun(world, top)
    (skill,) = job.skills
    assert (skill.name, skill.place) == ("deploy", ".agents/skills")
    assert skill.files() == {"SKILL.md": TEXT.encode()}
    world.node.start(job)
    mark = SkillMark(name="deploy", digest=skill.digest)
    world.node.deliver(job, change="no_change", skills=(mark,))
    world.context.turn()
    run = world.http.get(f"/v1/runs/{job.identity.run}").json()
    assert (run["outcome"], run["skills"]) == ("done", ["deploy"])


@pytest.mark.parametrize("names", [(), ("other",), ("deploy", "other")])
def test_a_receipt_that_names_others_is_not_believed(world: World, top: Path, names: tuple[str, ...]) -> None:
    job = begun(world, top)
    digests = {"deploy": job.skills[0].digest}
    marks = tuple(SkillMark(name=name, digest=digests.get(name, "0" * 64)) for name in names)
    world.node.carry_out(job, change="no_change", skills=marks)
    assert isinstance(world.node.controls()[-1].body, Reject)


def test_one_that_permits_something_is_left_out_and_the_story_says_why(world: World, top: Path) -> None:
    put(
        top / ".claude/skills/open",
        TEXT.replace("deploy", "open").replace("\n---\nDo", "\nhooks: x\n---\nDo"),
    )
    job = begun(world, top)
    assert [one.name for one in job.skills] == ["deploy"]
    told = world.http.get(f"/v1/runs/{job.identity.run}/why").json()["decisions"]
    said = {one["verdict"]: one["detail"] for one in told if one["kind"] == "skills"}
    assert said["given"] == "deploy" and "pancode skills agree open" in said["left out"]


def test_an_agent_names_those_of_the_home_and_a_wrong_name_stops_the_dispatch(
    world: World, top: Path
) -> None:
    home = world.coordinator.home
    put(home / "skills/release", TEXT.replace("deploy", "release"))
    (home / "panagents.yaml").write_text("agents: {builder: {skills: [release]}}\n")
    assert [one.name for one in begun(world, top).skills] == ["deploy", "release"]
    assert begun(world, top, runtime="shell").skills == ()
    (home / "panagents.yaml").write_text("agents: {builder: {skills: [relaese]}}\n")
    body = {"task": "x", "agent": "builder", "runtime": "claude", "cwd": str(top)}
    answer = world.http.post("/v1/runs", body)
    assert answer.status_code == 404 and answer.json()["code"] == "skill_not_found"
