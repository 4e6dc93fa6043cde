"""Tools that agents have made: nothing without a user's approval to the very bytes, tried,
signed, revoked."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation, NetworkAccess
from node_agent.wire.skill import TOOLS, ProposedTool, SkillMark
from pancode.kernel.records import Audit, Run
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run
from pancode.skills import made_tools as tools
from pancode.skills.made_tool_store import put_tool
from pancode.skills.records import StoredTool, StoredToolFiles
from tests.made_tools import NAME, made, proposal
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts, failed

COMMIT = "c" * 40


class ToolWorld(World):
    """A machine with a sandbox and the native worker, and a repository in which agents make tools."""

    def __init__(self, home: Path, shop: Path) -> None:
        super().__init__(home)
        subprocess.run(["git", "init", "-q", str(shop)], check=True)
        self.shop = shop
        runtimes = tuple(RuntimeFact(name=name, state="ok") for name in ("native", "claude", "shell"))
        self.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes)
        self.node.breathe()

    def begun(self, runtime: str = "native", **more: Any) -> tuple[str, Job]:
        said = {"task": "look", "runtime": runtime, "workspace": "git", "cwd": str(self.shop), **more}
        said |= {"model": "openai/m"} if runtime == "native" else {}
        run = self.dispatch(**said)["run"]
        return run, self.claim()

    def ends(self, job: Job, **more: Any) -> None:
        self.node.start(job)
        marks = tuple(SkillMark(name=one.name, digest=one.digest) for one in job.skills)
        claims = {"isolation": Isolation.SANDBOX, "skills": marks, "change": "no_change", "answer": "done"}
        self.node.deliver(job, **{**claims, **more})
        self.context.turn()
        self.node.breathe()

    def proposes(self, *tools: ProposedTool) -> str:
        run, job = self.begun()
        self.ends(job, proposed=tools or (proposal(),))
        return run

    def digest(self, run: str) -> str:
        return str(self.http.get(f"/v1/runs/{run}/tools/{NAME}").json()["digest"])

    def tries(self, run: str, **end: Any) -> Job:
        answer = self.http.post(f"/v1/runs/{run}/tools/{NAME}/try", {"by": "ana"})
        assert answer.status_code == 200, answer.text
        job = self.claim()
        self.ends(job, **end)
        return job

    def keeps(self, run: str, digest: str = "") -> Any:
        body = {"by": "ana", "digest": digest or self.digest(run)}
        return self.http.post(f"/v1/runs/{run}/tools/{NAME}/keep", body)

    def states(self) -> list[tuple[str, str]]:
        return [(one["name"], one["state"]) for one in self.http.get("/v1/tools").json()["tools"]]


@pytest.fixture
def world(tmp_path: Path) -> ToolWorld:
    return ToolWorld(tmp_path / "home", tmp_path / "shop")


def given(job: Job) -> list[str]:
    return [one.name for one in job.skills if one.place == TOOLS]


def test_it_is_proposed_tried_kept_given_and_revoked(world: ToolWorld) -> None:
    run = world.proposes()
    assert world.states() == [(NAME, "proposed")]
    shown = world.http.get(f"/v1/runs/{run}/tools/{NAME}").json()
    assert (
        shown["files"]["run"].startswith("#!")
        and "tests/two.in" in shown["files"]
        and shown["problem"] is None
    )
    _, job = world.begun()
    assert given(job) == [], "nobody has said yes"
    world.ends(job)
    assert world.keeps(run).json()["code"] == "not_tried"
    trial = world.tries(run)
    assert trial.policy.network is NetworkAccess.NONE and trial.limits.wall_ms == 65_000
    assert (trial.workspace.kind, trial.gates, trial.runtime) == ("git", (), "shell")
    assert world.states() == [(NAME, "tried")]
    assert world.keeps(run, "0" * 64).json()["code"] == "changed", "the yes is for what was looked at"
    kept = world.keeps(run).json()
    assert (kept["state"], kept["by"], world.states()) == ("kept", "ana", [(NAME, "kept")])
    for runtime in ("native", "claude"):
        later, job = world.begun(runtime)
        assert given(job) == ["tool-count-words"], runtime
        assert job.skills[0].digest == kept["digest"] == made(proposal()).digest
        world.ends(job)
        assert world.http.get(f"/v1/runs/{later}").json()["outcome"] == "done", "its receipt names the tool"
    done = world.http.post(f"/v1/tools/{NAME}/remove", {"by": "ana", "cwd": str(world.shop)})
    assert done.json() == {"removed": NAME} and world.states() == []
    assert given(world.begun()[1]) == []
    said = [one.what for one in world.context.rows(Audit) if one.domain == "trust"]
    assert said[-2:] == ["tool kept", "tool removed"]


def test_a_trial_counts_for_the_bytes_that_were_tried(
    world: ToolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later attempt of the same run may propose the name again while the trial is dispatched."""
    run, other = world.proposes(), proposal(run=b"#!/bin/sh\ntrue\n")

    def meanwhile(core: Core, *asked: Any) -> Dispatched:
        done = dispatch_run(core, *asked)
        with world.context.ledger.transaction() as tx:
            shop = str(world.shop)
            put_tool(tx, StoredTool(run, NAME, False, shop, run, other.digest, other.packed, 2))
        return done

    monkeypatch.setattr(tools, "dispatch_run", meanwhile)
    world.tries(run)
    assert world.states() == [(NAME, "proposed")] and world.keeps(run).json()["code"] == "not_tried"


def test_the_trial_needs_a_sandbox(world: ToolWorld) -> None:
    run = world.proposes()
    world.node.facts = facts(isolation=Isolation.NONE, runtimes=world.node.facts.runtimes)
    world.node.breathe()
    refused = world.http.post(f"/v1/runs/{run}/tools/{NAME}/try", {"by": "ana"})
    job = world.node.claim()
    assert refused.status_code != 200 or job is None, "it waits for a machine that has one"


def test_one_that_fails_its_tests_or_is_not_sound_is_not_kept(world: ToolWorld) -> None:
    run = world.proposes()
    world.tries(run, **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    assert world.states() == [(NAME, "failed")] and world.keeps(run).json()["code"] == "not_tried"
    world.tries(run, **failed(FailureKind.DISK_FULL, Outcome.INFRA))
    assert world.states() == [(NAME, "cut short")], "that said nothing about its tests"
    other = world.proposes(proposal(tool_json=b"{}"))
    assert (NAME, "not sound") in world.states()
    assert "about must be one line" in world.http.get(f"/v1/runs/{other}/tools/{NAME}").json()["problem"]
    for verb in ("try", "keep"):
        body = {"by": "ana", **({"digest": "0" * 64} if verb == "keep" else {})}
        assert world.problem("POST", f"/v1/runs/{other}/tools/{NAME}/{verb}", body)["code"] == "bad_tool"


def test_one_that_was_changed_after_the_yes_is_given_to_nobody(world: ToolWorld) -> None:
    run = world.proposes()
    world.tries(run)
    world.keeps(run)
    (row,) = world.context.rows(StoredTool, kept=True)
    evil = made(proposal(run=b"#!/bin/sh\nid\n")).ordered()
    for changed in ({"packed": evil.packed}, {"packed": evil.packed, "digest": evil.digest}, {"by": "bea"}):
        with world.context.ledger.transaction() as tx:
            tx.put(replace(row, **changed))
        assert world.states() == [(NAME, "changed")]
        answer = world.dispatch(task="look", runtime="claude", workspace="git", cwd=str(world.shop))
        assert any("since it was kept" in one for one in answer["warnings"])
        job = world.claim()
        assert given(job) == []
        world.ends(job)


def test_a_receipt_without_the_tool_is_believed_only_where_no_sandbox_stood(world: ToolWorld) -> None:
    run = world.proposes()
    world.tries(run)
    world.keeps(run)
    for isolation, outcome in ((Isolation.NONE, "done"), (Isolation.SANDBOX, "infra")):
        later, job = world.begun("claude")
        world.ends(job, skills=(), isolation=isolation)
        assert world.http.get(f"/v1/runs/{later}").json()["outcome"] == outcome


def test_a_run_keeps_nothing_itself_and_another_project_has_nothing(world: ToolWorld, tmp_path: Path) -> None:
    run = world.proposes()
    world.tries(run)
    digest = world.digest(run)
    inside, job = world.begun()
    world.node.start(job)
    world.context.turn()
    world.coordinator.inside = (job.identity,)
    assert world.keeps(run, digest).json()["code"] == "inside_run", "a yes is a user's"
    world.coordinator.inside = ()
    assert world.keeps(run, digest).status_code == 200
    subprocess.run(["git", "init", "-q", str(tmp_path / "other")], check=True)
    away = world.dispatch(task="look", runtime="claude", workspace="git", cwd=str(tmp_path / "other"))["run"]
    there: Run = world.context.row(Run, away)
    assert there.terms.get("skills", []) == [], inside


def test_a_proposed_tool_is_in_the_list_of_what_waits_until_somebody_decides(world: ToolWorld) -> None:
    def waits() -> list[tuple[str, str]]:
        asks = world.http.get("/v1/now").json()["groups"][0]["needs"]
        return [(one["run"], one["command"]) for one in asks if NAME in one["title"]]

    run, other = world.proposes(), world.proposes()
    asked = [(one, f"pancode project tools try {one} {NAME}") for one in (other, run)]
    assert waits() == asked
    looked_at = world.context.rows(StoredTool, kept=False)
    assert [row.packed for row in looked_at] == ["", ""], "it reads no files of them"
    files = [one for one in world.context.rows(StoredToolFiles) if one.run == run]
    assert len(files[0].packed) > 200
    world.http.post(f"/v1/runs/{run}/tools/{NAME}/try", {"by": "ana"})
    assert waits() == asked[:1], "one on trial waits for nobody"
    world.ends(world.claim())
    assert waits() == [(run, f"pancode project tools keep {run} {NAME}"), asked[0]], (
        "a yes is what is nearest"
    )
    (nearest, *_) = world.http.get("/v1/now").json()["groups"][0]["needs"]
    assert nearest["headline"] == f"was proposed by {run}, and its tests passed"
    assert world.keeps(run).status_code == 200
    world.tries(other, **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    assert waits() == [(other, f"pancode project tools show {other} {NAME}")]
    body = {"by": "ana", "run": other}
    assert world.http.post(f"/v1/tools/{NAME}/remove", body).json() == {"removed": NAME}
    assert (waits(), world.states()) == ([], [(NAME, "kept")])
    assert not world.context.rows(StoredTool, kept=False) and not world.context.rows(StoredToolFiles), (
        "none is left"
    )
    assert world.problem("POST", f"/v1/tools/{NAME}/remove", body)["code"] == "tool_not_found"
