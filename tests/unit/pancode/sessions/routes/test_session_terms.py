"""Mode and level of a session: chosen by a user, held from the next interactive run on, never widened by a
run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.runtimes.base import Resume
from node_agent.runtimes.jobs import request_of
from node_agent.runtimes.others import OtherAgent, runtime_of
from node_agent.runtimes.registry import RUNTIMES as PROGRAMS
from node_agent.runtimes.workerspec import FILE, WorkerSpec
from node_agent.wire.control import TurnControl
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job, Reasoning
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import ActionClass, Isolation, Mode, Safety
from node_agent.wire.receipt import Usage
from node_agent.wiring import ASKER
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.records import Audit, Run
from pancode.sessions.service import GoingOn
from tests.unit.node_agent.runtimes.asked import place
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld, code_of
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.kernel.fleets import endpoint
from tests.unit.pancode.runs.world import Puppet, facts
from tests.unit.pancode.sessions.test_sessions import (
    begin,
    interactive_run,
    record,
    rested,
    say,
    sent,
    session,
    turned,
)


@pytest.fixture
def world(tmp_path: Path) -> ListenerWorld:
    made = ListenerWorld(tmp_path)
    runtimes = tuple(RuntimeFact(name=name, state="ok") for name in ("native", "claude", "shell"))
    made.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes)
    made.node.breathe()
    return made


def change(world: World, run: str, **terms: Any) -> dict[str, Any]:
    answer = world.http.post(f"/v1/sessions/{run}/terms", {"by": "ana", **terms})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def of(shape: dict[str, Any]) -> tuple[Any, ...]:
    chosen = shape["next"]
    return shape["mode"], shape["safety"], chosen and (chosen["mode"], chosen["safety"], chosen["by"])


def test_at_rest_the_next_words_begin_with_the_new_terms(world: World) -> None:
    run = begin(world)["run"]
    rested(world, interactive_run(world), record(1, 0))
    assert of(change(world, run, mode="plan")) == ("build", "auto-edit", ("plan", "auto-edit", "ana"))
    assert of(change(world, run, safety="suggest"))[2] == ("plan", "suggest", "ana"), "each by itself"
    second = say(world, run, "look at it")["run"]
    job = interactive_run(world)
    assert (job.mode, job.safety) == (Mode.PLAN, Safety.SUGGEST)
    assert set(job.policy.allowed) == {ActionClass.FILE_READ, ActionClass.NETWORK}
    assert "This is mode plan" in job.agent.prompt
    assert job.resume is not None and (job.resume.run, job.resume.session) == (run, "s-1")
    assert of(session(world, second)) == ("plan", "suggest", None)
    rested(world, job, record(1, 0))
    say(world, run, "and again")
    assert interactive_run(world).mode is Mode.PLAN, "it stays"


def test_the_next_words_go_to_another_model_that_thinks_harder(world: World) -> None:
    run = begin(world, runtime="native", model="openai/gpt-5.5")["run"]
    rested(world, interactive_run(world), record(1, 0))
    shape = change(world, run, model="openai/gpt-5.5-mini", reasoning="high")
    chosen = {"model": "openai/gpt-5.5-mini", "reasoning": "high", "mode": "build"}
    assert chosen.items() <= shape["next"].items() and shape["reasoning"] is None
    say(world, run, "think")
    job = interactive_run(world)
    assert (job.model, job.reasoning) == ("openai/gpt-5.5-mini", Reasoning.HIGH)
    assert job.resume is not None, "it remembers"
    rested(world, job, record(1, 0))
    change(world, run, reasoning="low")
    say(world, run, "less")
    last = interactive_run(world)
    assert (last.model, last.reasoning) == ("openai/gpt-5.5-mini", Reasoning.LOW)


def test_a_model_of_another_machine_is_gone_on_with_there(world: World) -> None:
    other = Puppet(world.context, "n2")
    names = ("ollama", "vllm")
    servers = [endpoint(name, "qwen3:8b") for name in names]
    runtimes = (RuntimeFact(name="native", state="ok"),)
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes, endpoints=(servers[0],))
    other.facts = facts(isolation=Isolation.SANDBOX, runtimes=runtimes, endpoints=(servers[1],))
    for node in (world.node, other):
        node.breathe()
    run = begin(world, model="ollama/qwen3:8b", untested=True)["run"]
    rested(world, interactive_run(world), record(1, 0))
    assert change(world, run, reasoning="low")["next"]["memory"]
    assert not change(world, run, model="vllm/qwen3:8b")["next"]["memory"], "only the other node has it"
    assert not change(world, run, model="n2/vllm/qwen3:8b")["next"]["memory"]
    began = world.context.row(Run, say(world, run, "there, then")["run"])
    assert began.node == "n2" and "resume" not in began.terms and f"as run {run}" in began.terms["story"]


def test_a_model_or_mode_that_cannot_be_is_refused_at_once(world: World) -> None:
    run = begin(world, runtime="claude", model="anthropic/claude-sonnet-4-5")["run"]
    rested(world, interactive_run(world), record(1, 0))
    path = f"/v1/sessions/{run}/terms"
    assert world.problem("POST", path, {"model": "openai/gpt-5.5"})["code"] == "refused_routing"
    assert world.problem("POST", path, {"reasoning": "minimal"})["code"] == "reasoning_not_taken"
    assert world.problem("POST", path, {"program_mode": "plan"})["code"] == "no_program_mode"
    assert session(world, run)["next"] is None


def test_a_program_of_an_owners_choice_is_given_its_own_mode(world: World) -> None:
    own = RuntimeFact(name="acp:vibe", state="ok")
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=(own,))
    world.node.breathe()
    run = begin(world, runtime="acp:vibe", model="openai/gpt-5.5")["run"]
    rested(world, interactive_run(world), record(1, 0))
    path = f"/v1/sessions/{run}/terms"
    for mode in ("yolo", "bypassPermissions", "https://x.example/modes#autopilot"):
        assert world.problem("POST", path, {"program_mode": mode})["code"] == "forbidden_program_mode"
    assert change(world, run, program_mode="debug")["next"]["program_mode"] == "debug"
    say(world, run, "why?")
    job = interactive_run(world)
    assert job.turns is not None and job.turns.mode == "debug"
    rested(world, job, record(1, 0))
    assert change(world, run, program_mode="")["next"]["program_mode"] == "", "back to how it begins"


def test_what_works_rests_behind_its_turn_and_words_wait_for_the_new_terms(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    change(world, run, mode="review")
    (rest,) = sent(world)
    assert isinstance(rest, TurnControl) and (rest.what, rest.number) == ("rest", 1)
    assert say(world, run, "in review", "ben")["how"] == "kept"
    assert not sent(world), "they are not words for the turn at work"
    rested(world, job, record(1, 0))
    GoingOn(world.context.core, world.coordinator.around).do(run, lambda: False)
    world.context.turn()
    following = interactive_run(world)
    assert (following.mode, following.task) == (Mode.REVIEW, "in review")
    assert world.context.row(Run, following.identity.run).created_by == "ben"


def test_a_choice_before_the_program_is_there_rests_it_behind_its_first_turn(world: World) -> None:
    run = begin(world)["run"]
    job = world.claim()
    change(world, run, safety="suggest")
    assert say(world, run, "only look")["how"] == "kept"
    world.node.start(job)
    world.context.turn()
    assert not sent(world)
    turned(world, job, record(1, 0))
    (rest,) = sent(world)
    assert (rest.what, rest.number) == ("rest", 1)


def test_back_to_what_it_has_is_no_change(world: World) -> None:
    run = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    change(world, run, mode="plan")
    assert of(change(world, run, mode="build")) == ("build", "auto-edit", None)
    assert of(change(world, run, mode="build")) == ("build", "auto-edit", None)
    rested(world, job, record(1, 0))
    say(world, run, "go on")
    assert interactive_run(world).mode is Mode.BUILD


def test_a_higher_level_needs_a_users_yes(world: ListenerWorld) -> None:
    run = begin(world, safety="suggest")["run"]
    rested(world, interactive_run(world), record(1, 0))
    told = world.problem("POST", f"/v1/sessions/{run}/terms", {"safety": "full-auto"})
    assert (told["code"], told["exit_code"]) == ("needs_yes", 5) and "--yes" in told["fix"]
    assert session(world, run)["next"] is None
    assert of(change(world, run, safety="full-auto", yes=True))[2] == ("build", "full-auto", "ana")
    change(world, run, safety="suggest")
    told = world.problem("POST", f"/v1/sessions/{run}/terms", {"safety": "auto-edit"})
    assert told["code"] == "needs_yes", "a yes is for once"
    token = world.token("dispatch")
    asked = world.ask("POST", f"/v1/sessions/{run}/terms", token, {"safety": "auto-edit", "yes": True})
    assert code_of(asked, 403) == "wrong_scope", "no token says a user's approval without the right to answer"
    with world.context.ledger.transaction() as tx:
        rows = [one.detail for one in tx.find(Audit, {"run": run}) if one.what == "mode and level"]
    assert [(one["by"], one["safety"]) for one in rows] == [("ana", "full-auto"), ("ana", "suggest")]


def test_admission_judges_the_new_terms_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.node.facts = facts(
        runtimes=tuple(RuntimeFact(name=name, state="ok") for name in ("gemini", "shell"))
    )
    world.node.breathe()
    run = begin(world, runtime="gemini", model="google/gemini-2.5-pro")["run"]
    rested(world, interactive_run(world), record(1, 0))
    told = world.problem("POST", f"/v1/sessions/{run}/terms", {"safety": "full-auto", "yes": True})
    assert told["code"] == "refused_safety" and "nothing can enforce" in told["message"]
    assert of(session(world, run)) == ("build", "auto-edit", None)
    told = world.problem("POST", f"/v1/sessions/{run}/terms", {"mode": "god"})
    assert told["code"] == "bad_value" and "plan" in str(told)
    headless = world.dispatch()["run"]
    told = world.problem("POST", f"/v1/sessions/{headless}/terms", {"mode": "plan"})
    assert told["code"] == "no_session"


@pytest.mark.parametrize("mode", ["plan", "admin", "review"])
@pytest.mark.parametrize("safety", ["suggest", "auto-edit"])
def test_a_user_talks_in_every_mode_and_the_agent_only_reads(world: World, mode: str, safety: str) -> None:
    begin(world, mode=mode, safety=safety, agent="builder")
    job = interactive_run(world)
    assert set(job.policy.allowed) == {ActionClass.FILE_READ, ActionClass.NETWORK}


def _inside(world: World, run: str) -> None:
    world.coordinator.inside = (AttemptId(run=run, attempt=1, lease=1),)


def asked(world: World, **more: Any) -> dict[str, Any]:
    task = {"task": "look", "runtime": "native", "model": "anthropic/claude-sonnet-4-5", "workspace": "none"}
    return {**task, "agent": "reviewer", **more}


@pytest.mark.parametrize(
    ("mode", "child", "words"),
    [
        ("plan", {"mode": "review"}, "has mode plan, which cannot start runs"),
        ("plan", {"mode": "plan"}, "has mode plan, which cannot start runs"),
        ("review", {"mode": "build"}, "has mode review and cannot start one with build"),
        ("review", {"mode": "admin"}, "has mode review and cannot start one with admin"),
        ("review", {"mode": "review", "agent": "builder"}, "requires a read-only agent"),
        ("admin", {"mode": "build", "agent": "builder"}, "has mode admin and cannot start one with build"),
        ("build", {"mode": "admin"}, "has mode build and cannot start one with admin"),
        ("build", {"mode": "build", "safety": "full-auto"}, "cannot start one with full-auto"),
        ("build", {"mode": "plan"}, "cannot dispatch"),
        ("review", {"mode": "review", "safety": "suggest"}, "only reads, and cannot start runs"),
    ],
)
def test_what_a_session_dispatches_is_never_wider_than_it(
    world: World, mode: str, child: dict[str, Any], words: str
) -> None:
    run = begin(world, mode=mode)["run"]
    interactive_run(world)
    _inside(world, run)
    told = world.problem("POST", "/v1/runs", asked(world, **child))
    assert words in told["message"] and told["code"].startswith("refused_")
    with world.context.ledger.transaction() as tx:
        (row,) = [one for one in tx.find(Audit, {"domain": "dispatch"}) if one.what == "refused"]
    assert words in str(row.detail["words"]), "the attempt is in the audit"


@pytest.mark.parametrize("mode", ["build", "review", "admin"])
def test_what_its_mode_lets_it_dispatch_begins(world: World, mode: str) -> None:
    run = begin(world, mode=mode)["run"]
    interactive_run(world)
    _inside(world, run)
    answer = world.http.post("/v1/runs", asked(world, mode="review"))
    assert answer.status_code == 201, answer.text
    assert world.context.row(Run, answer.json()["run"]).parent == run


def test_a_choice_narrows_what_it_dispatches_at_once_and_widens_nothing(world: World) -> None:
    run = begin(world, safety="auto-edit")["run"]
    interactive_run(world)
    change(world, run, mode="review", safety="full-auto", yes=True)
    _inside(world, run)
    told = world.problem("POST", "/v1/runs", asked(world, mode="build", agent="builder"))
    assert "has mode review" in told["message"]
    told = world.problem("POST", "/v1/runs", asked(world, mode="review", safety="full-auto"))
    assert "has safety auto-edit" in told["message"]
    for terms in ({"mode": "build"}, {"safety": "full-auto", "yes": True}):
        assert world.problem("POST", f"/v1/sessions/{run}/terms", terms)["code"] == "inside_run"


TALKERS = [name for name, one in PROGRAMS.items() if one.capabilities.takes_turns]
MODELS = {"anthropic": "anthropic/claude-sonnet-4-5", "google": "google/gemini-2.5-pro"}


@pytest.mark.parametrize("name", [*TALKERS, "acp:vibe"])
def test_every_program_that_takes_turns_is_held_to_the_terms_from_its_next_interactive_run_on(
    world: World, name: str
) -> None:
    """Mode, level and effort stand in the job, and its program is told of no more than they allow."""
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=(RuntimeFact(name=name, state="ok"),))
    world.node.breathe()
    kind = RUNTIMES[name]
    run = begin(world, runtime=name, model=MODELS.get(kind.provider or "", "openai/gpt-5.5"))["run"]
    first = interactive_run(world)
    assert told_of(first).writes, "build, auto-edit"
    change(world, run, mode="plan", safety="suggest", reasoning="high")
    (rest,) = sent(world)
    assert isinstance(rest, TurnControl) and (rest.what, rest.number) == ("rest", 1), "and no turn is cut"
    rested(world, first, record(1, 0))
    say(world, run, "look at it")
    job = interactive_run(world)
    assert (job.mode, job.safety, job.reasoning) == (Mode.PLAN, Safety.SUGGEST, Reasoning.HIGH)
    assert job.resume is not None and (job.resume.run, job.resume.session) == (run, "s-1")
    spec = told_of(job)
    assert not spec.writes and spec.safety is Safety.SUGGEST and spec.resume == "s-1"
    assert set(spec.policy.allowed) == {ActionClass.FILE_READ, ActionClass.NETWORK}


def told_of(job: Job) -> WorkerSpec:
    """What our program of this interactive run is told on its node."""
    program = PROGRAMS.get(job.runtime) or runtime_of("vibe", OtherAgent(argv=("/usr/bin/vibe",)), ASKER)
    resume = Resume(job.resume.session, Usage()) if job.resume else None
    request = request_of(job, "/node/work/r", "/node/homes/r", resume)
    launch = program.launch(request, place(isolation=Isolation.SANDBOX))
    spec = WorkerSpec.model_validate_json(launch.files[FILE])
    assert spec.interactive_run is not None
    return spec
