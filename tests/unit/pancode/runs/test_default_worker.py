"""What runs work where nobody names a runtime or a model: the same for every entry point, on six fleets."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.endpoint import EndpointFact, Grade, ModelFact
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.agents.default_worker import EASY
from pancode.interfaces.mcp.tool import make_error_result
from pancode.kernel.errors import RefusedError
from pancode.kernel.records import Action, ActionKind, Run
from pancode.schedules.records import Firing
from pancode.schedules.scheduler import Scheduler
from pancode.workflows.advancing import Advancing
from pancode.workflows.step_start import StepStarter
from tests.unit.pancode.agents.routes.test_exams import passport
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.issues.memory import track_issues
from tests.unit.pancode.kernel.fleets import endpoint
from tests.unit.pancode.runs.world import facts

WORK = {"task": "fix the typo", "workspace": "none"}
STEP = {"name": "one", "dispatch": WORK}
RACE = {"kind": "race", "steps": [STEP, {**STEP, "name": "two"}], "race": {"by": "first"}}


def model(name: str, tested: str = "good", **more: Any) -> ModelFact:
    passports = {"good": passport(), "failed": passport(Grade.FAILED), "": None}
    return ModelFact(id=name, passport=passports[tested], ctx_usable=32_768, **more)


FLEETS: dict[str, tuple[tuple[EndpointFact, ...], dict[str, str], tuple[str, str | None] | str]] = {
    "a vendor's program": ((), {"claude": "ok"}, ("claude", None)),
    "another vendor's program": ((), {"gemini": "ok", "claude": "not_logged_in"}, ("gemini", None)),
    "local models": ((endpoint("ollama", model("small")),), {}, ("native", "small")),
    "both": ((endpoint("ollama", model("small")),), {"codex": "ok"}, ("codex", None)),
    "an untested model": ((endpoint("ollama", model("new", "")),), {}, "model_untested"),
    "a model that failed": ((endpoint("ollama", model("bad", "failed")),), {}, "nothing_ready"),
}
"""The servers and programs of the one node; the runtime and model that are chosen, or the refusal."""


def fleet(world: World, name: str) -> tuple[str, str | None] | str:
    servers, runtimes, expected = FLEETS[name]
    told = {"shell": "ok", "native": "not_logged_in", **runtimes}
    found = tuple(RuntimeFact.model_validate({"name": one, "state": state}) for one, state in told.items())
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=found, endpoints=servers)
    world.node.breathe()
    return expected


def post(world: World, path: str, body: dict[str, Any]) -> str:
    """The code of the refusal; empty: it began."""
    answer = world.http.post(path, {"by": "ana", **body})
    return "" if answer.status_code < 300 else str(answer.json()["code"])


def lane(world: World, top: Path) -> str:
    code = post(world, "/v1/lanes", {"name": "night"}) or post(world, "/v1/lanes/night/add", WORK)
    core = world.context.core
    for due in world.context.rows(Action):
        if due.kind is ActionKind.ADVANCE:
            Advancing(core, StepStarter(core, world.coordinator.around)).do(due.run, lambda: False)
    return code


def schedule(world: World, top: Path) -> str:
    body = {"name": "nightly", "cron": "0 3 * * *", "dispatch": WORK}
    if code := post(world, "/v1/schedules", body) or post(world, "/v1/schedules/nightly/run", {}):
        return code
    Scheduler(world.context.core, world.coordinator.around).run_pass()
    (firing,) = world.context.rows(Firing)
    return "" if firing.run else "model_untested" if "has not been tested" in firing.reason else firing.reason


def repository(top: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    return top


def issue(world: World, top: Path) -> str:
    track_issues(world.coordinator)
    project = {"path": str(repository(top)), "name": "shop", "tracker": "github:o/r", "prefix": "SHOP"}
    return post(world, "/v1/projects", project) or post(world, "/v1/work", {"issue": "SHOP-12"})


def inside(world: World, top: Path) -> str:
    parent = world.dispatch()["run"]
    world.coordinator.inside = (AttemptId(run=parent, attempt=1, lease=1),)
    return post(world, "/v1/runs", WORK)


ENTRIES: dict[str, Callable[[World, Path], str]] = {
    "dispatch": lambda world, top: post(world, "/v1/runs", WORK),
    "batch": lambda world, top: post(world, "/v1/workflows", {"kind": "batch", "steps": [STEP]}),
    "chain": lambda world, top: post(world, "/v1/workflows", {"kind": "chain", "steps": [STEP]}),
    "race": lambda world, top: post(world, "/v1/workflows", RACE),
    "lane": lane,
    "schedule": schedule,
    "chat": lambda world, top: post(world, "/v1/sessions", {**WORK, "agent": "builder"}),
    "panos": lambda world, top: post(world, "/v1/sessions", WORK),
    "what Panos dispatches": inside,
    "work": issue,
    "plan": lambda world, top: post(world, "/v1/sessions", {**WORK, "agent": "planner"}),
    "explore": lambda world, top: post(
        world, "/v1/explore", {"questions": ["Where?"], "cwd": str(repository(top))}
    ),
}


@pytest.mark.parametrize("name", FLEETS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_point_chooses_the_same(tmp_path: Path, entry: str, name: str) -> None:
    world = World(tmp_path / "home")
    expected = fleet(world, name)
    code = ENTRIES[entry](world, tmp_path / "shop")
    runs = [run for run in world.context.rows(Run) if run.runtime != "shell"]
    chosen: tuple[str, str | None] | str = code
    if not code:
        (chosen,) = {(run.runtime, run.model) for run in runs}
    if (entry, name) == ("explore", "both"):
        expected = ("native", "small")  # a scout takes the cheapest model that passed its test
    assert chosen == expected


def test_the_refusal_gives_each_reason_once_and_names_first_what_is_ready(tmp_path: Path) -> None:
    world = World(tmp_path)
    fleet(world, "a model that failed")
    told = world.problem("POST", "/v1/runs", WORK)
    assert told["code"] == "nothing_ready"
    assert "4096" in told["why"]
    assert told["why"].count("did not pass") == 1 and "no other model server" in told["why"]


def test_an_agent_that_may_not_test_a_model_is_told_the_command_that_does() -> None:
    error = RefusedError("not tested", fix="pancode models test n1/ollama/new; or x", code="model_untested")
    assert "pancode models test n1/ollama/new" in make_error_result(error, untrusted=False)["fix"]


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/runs"])
def test_an_owner_may_use_a_model_that_failed_its_test_where_it_only_reads_or_talks(
    tmp_path: Path, path: str
) -> None:
    world = World(tmp_path)
    fleet(world, "a model that failed")
    asked = {**WORK, "model": "ollama/bad", "agent": "reviewer"}
    refused = world.problem("POST", path, {**asked, "by": "ana"})
    assert "--yes" in refused["fix"]
    begun = world.http.post(path, {**asked, "by": "ana", "yes": True}).json()
    assert any("did not pass its test" in one and "--yes" in one for one in begun["warnings"])
    (run,) = world.context.rows(Run)
    assert run.untested and world.claim().identity.run == run.id


def test_a_model_that_failed_its_test_never_writes(tmp_path: Path) -> None:
    world = World(tmp_path)
    fleet(world, "a model that failed")
    refused = world.problem(
        "POST", "/v1/runs", {**WORK, "model": "ollama/bad", "agent": "builder", "yes": True}
    )
    assert "did not pass its test" in refused["message"] and "--yes" not in refused["fix"]


def test_the_variables_of_a_session_count_for_what_it_dispatches(tmp_path: Path) -> None:
    world = World(tmp_path)
    servers = (endpoint("ollama", model("large", parameters=10**10), model("small", parameters=10**9)),)
    native = (RuntimeFact(name="native", state="ok"),)
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=native, endpoints=servers)
    world.node.breathe()
    settings = {"models.worker": "ollama/small"}
    session = world.http.post("/v1/sessions", {**WORK, "by": "ana", "settings": settings}).json()["run"]
    world.coordinator.inside = (AttemptId(run=session, attempt=1, lease=1),)
    work = {**WORK, "budget": "0.10"}
    steps = {"kind": "batch", "steps": [{"name": "one", "dispatch": work}]}
    for path, body in (("/v1/runs", work), ("/v1/workflows", steps)):
        assert post(world, path, {**body, "by": "ana"}) == ""
    children = [run for run in world.context.rows(Run) if run.parent == session]
    assert [run.model for run in children] == ["small", "small"]


def test_where_the_usual_model_failed_its_test_the_fix_is_not_to_load_it_again(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    native = RuntimeFact(name="native", state="not_logged_in")
    servers = (endpoint("ollama", model(EASY, "failed")),)
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=(native,), endpoints=servers)
    world.node.breathe()
    assert world.problem("POST", "/v1/runs", WORK)["fix"].startswith("pancode node install n1 claude")
    talk = {**WORK, "agent": "panos", "by": "ana"}
    fix = world.problem("POST", "/v1/sessions", talk)["fix"]
    assert fix == f"pancode chat --runtime native --model ollama/{EASY} --untested"
    named = {"runtime": "native", "model": f"ollama/{EASY}", "untested": True}
    assert post(world, "/v1/sessions", {**talk, **named}) == "", "the fix works"
