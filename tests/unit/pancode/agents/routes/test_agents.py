"""Agents through the API: what they are, what they are told, who says yes, why one was chosen."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.endpoint import ModelFact
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.node import RuntimeFact
from pancode.kernel.records import Run
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.kernel.fleets import endpoint
from tests.unit.pancode.runs.world import facts, failed


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def mine(world: World, text: str) -> None:
    (world.coordinator.home / "panagents.yaml").write_text(text)


def get(world: World, path: str) -> Any:
    answer = world.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_definition_by_the_names_of_its_file(world: World) -> None:
    mine(world, "agents: {reviewer: {sampling: coding, isolation: container, limits: {usd: 0.5}, tags: [a]}}")
    (agent,) = get(world, "/v1/agents?name=reviewer")["agents"]
    assert (agent["role"], agent["isolation"], agent["tags"], agent["own"]) == (
        "reviewer",
        "container",
        ["a"],
        True,
    )
    assert (agent["sampling"], agent["limits"]["usd"]) == ({"temperature": "0.2", "top_p": "0.95"}, "0.5")
    assert {"isolations", "said_role"}.isdisjoint(agent)
    assert [a["own"] for a in get(world, "/v1/agents")["agents"]].count(True) == 1


def test_whom_a_user_talks_with_who_names_nobody(world: World) -> None:
    assert get(world, "/v1/agents")["talks"] == get(world, "/v1/agents?name=builder")["talks"] == "panos"
    mine(world, "agents: {panos: {enabled: false}}")
    assert get(world, "/v1/agents")["talks"] is None


def test_what_a_run_would_be_told(world: World) -> None:
    asked = "/v1/agents/reviewer/prompt?mode=build&safety=full-auto&runtime=cli:claude-code"
    told = get(world, asked)
    assert (told["agent"], told["runtime"], told["mode"]) == ("reviewer", "claude", "build")
    assert [piece["category"] for piece in told["pieces"]][0] == "identity"
    text = "\n\n".join(piece["text"] for piece in told["pieces"])
    assert "you are read-only" in text and "Read, Grep, Glob." in text
    assert get(world, asked)["digest"] == told["digest"]
    assert get(world, "/v1/agents/reviewer/prompt?mode=review")["digest"] != told["digest"]
    assert told["tokens"]["system"] > 100


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("reviewr/prompt", "agent 'reviewr' not found"),
        ("reviewer/prompt?mode=bild", "mode 'bild' not found"),
        ("reviewer/prompt?safety=auto", "safety 'auto' not found"),
        ("reviewer/prompt?runtime=claud", "runtime 'claud' not found"),
    ],
)
def test_unknown_names_are_told(world: World, query: str, words: str) -> None:
    told = world.problem("GET", f"/v1/agents/{query}")
    assert words in told["message"] and told["exit_code"] == 4 and told["why"]
    assert "mode=" not in query or told["fix"].endswith("pancode policy show")


def with_claude(world: World) -> World:
    found = RuntimeFact(name="claude", version="2.1.328", state="ok")
    world.node.facts = facts(runtimes=(*facts().runtimes, found))
    world.node.breathe()
    return world


def test_the_prompt_of_a_run_is_the_one_that_is_shown(world: World) -> None:
    body = {"task": "look", "agent": "reviewer", "runtime": "claude", "mode": "review", "workspace": "none"}
    assert with_claude(world).http.post("/v1/runs", body).status_code == 201
    shown = get(world, "/v1/agents/reviewer/prompt?mode=review&runtime=claude")
    agent = world.claim().agent
    assert agent.prompt == "\n\n".join(piece["text"] for piece in shown["pieces"])
    assert hashlib.sha256(agent.prompt.encode()).hexdigest() == shown["digest"]
    assert (agent.tools, agent.read_only) == (("read", "grep", "find", "ls"), True)


def test_the_prompt_of_a_run(world: World) -> None:
    body = {"task": "look", "agent": "reviewer", "runtime": "claude", "workspace": "none"}
    run = with_claude(world).http.post("/v1/runs", {**body, "mode": "review"}).json()["run"]
    told = get(world, f"/v1/runs/{run}/prompt")
    assert "mode review" in told["text"]
    assert told["digest"] == hashlib.sha256(told["text"].encode()).hexdigest()
    script = world.dispatch()["run"]
    assert script in world.problem("GET", f"/v1/runs/{script}/prompt")["message"]


def test_a_prompt_for_a_model_with_a_small_window(world: World) -> None:
    server = endpoint("llamacpp", ModelFact(id="tiny", ctx_usable=2_048))
    world.node.facts = facts(endpoints=(server,))
    world.node.breathe()
    asked = "/v1/agents/builder/prompt?model=llamacpp/tiny"
    told = get(world, asked)
    assert (told["runtime"], told["window"]) == ("native", 2_048)
    assert told["left_out"] and told["tokens"]["system"] < get(world, asked.split("?")[0])["tokens"]["system"]
    assert get(world, "/v1/agents/builder/prompt?model=llamacpp/other")["window"] is None
    about = {"agent": "builder", "model": "llamacpp/tiny", "untested": True}
    dry = {"task": "look", "workspace": "none", "dry_run": True, **about}
    plan = world.http.post("/v1/runs", dry).json()
    assert plan["left_out"] == told["left_out"]


def test_who_was_chosen_and_why_is_answered_and_kept(world: World) -> None:
    body = {"task": "review the parser", "runtime": "claude", "workspace": "none"}
    plan = with_claude(world).http.post("/v1/runs", {**body, "dry_run": True}).json()
    assert (plan["agent"], plan["chosen"]) == ("reviewer", "the task begins with “review”")
    assert plan["tokens"]["task"] == 5
    queued = world.http.post("/v1/runs", body).json()
    assert (queued["agent"], queued["chosen"]) == ("reviewer", "the task begins with “review”")
    why = get(world, f"/v1/runs/{queued['run']}/why")["decisions"]
    told = next(one["detail"] for one in why if one["what"] == "agent")
    assert "agent reviewer (the task begins with “review”)" in told
    assert world.dispatch()["chosen"] == "", "a script is not a task in words"


def test_a_user_says_yes_to_an_agent_that_asks_first(world: World) -> None:
    mine(world, "agents: {builder: {autonomy: confirmatory}}")
    refused = world.problem("POST", "/v1/runs", world.shell())
    assert (refused["exit_code"], refused["code"]) == (5, "needs_yes")
    assert "--yes" in refused["fix"] and "--ask" in refused["fix"]
    assert world.context.rows(Run) == []
    queued = world.dispatch(yes=True)
    world.node.carry_out(**failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    again = world.http.post(f"/v1/runs/{queued['run']}/retry", {})
    assert again.status_code == 201, "who names a run to be tried again has said yes to it"
