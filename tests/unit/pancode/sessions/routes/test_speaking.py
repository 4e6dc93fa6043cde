"""By what a session talks where nobody has named it, judged before anything begins; and its preset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.endpoint import EndpointFact, ModelFact
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.config.agents.presets import FILE
from pancode.kernel.records import Audit, Run
from tests.unit.pancode.agents.routes.test_exams import passport
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.kernel.fleets import endpoint
from tests.unit.pancode.runs.world import facts

WORDS = {"task": "hello", "workspace": "none", "by": "ana"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / FILE).write_text("mine: {workerModel: anthropic/quick, safety: full-auto}\n")
    return World(tmp_path)


def has(world: World, *servers: EndpointFact, **runtimes: str) -> None:
    """The node's model servers, and its programs with their states."""
    told: dict[str, Any] = {"shell": "ok", "native": "not_logged_in", **runtimes}
    found = tuple(RuntimeFact(name=name, state=state) for name, state in told.items())
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=found, endpoints=servers)
    world.node.breathe()


def plan(world: World, **more: Any) -> dict[str, Any]:
    answer = world.http.post("/v1/sessions", {**WORDS, "task": "", "dry_run": True, **more})
    told: dict[str, Any] = answer.json()
    return told


def model(name: str, *, tested: bool = False, **more: Any) -> ModelFact:
    return ModelFact(id=name, passport=passport() if tested else None, ctx_usable=32_768, **more)


def test_the_best_tier_comes_first_then_the_tested_model_then_the_larger_one(world: World) -> None:
    small, large = model("small", parameters=10**9), model("large", parameters=10**10)
    has(world, endpoint("ollama", small, large), gemini="ok")
    assert (plan(world)["runtime"], plan(world)["model"]) == ("gemini", None)
    has(world, endpoint("ollama", small, large))
    told = plan(world)
    assert (told["runtime"], told["model"], told["admitted"]) == ("native", "large", True)
    assert "with ollama/large, as no model was named" in told["chosen"]
    has(world, endpoint("ollama", model("small", tested=True), large))
    assert plan(world)["model"] == "small"
    has(world, endpoint("ollama", model("no", tools=False), free=False), gemini="ok")
    assert (plan(world)["runtime"], plan(world)["model"]) == ("gemini", None)


def test_what_is_named_is_taken_and_a_wrong_name_is_said(world: World) -> None:
    has(world, endpoint("ollama", model("small")), gemini="ok")
    assert plan(world, runtime="gemini")["runtime"] == "gemini"
    assert plan(world, node="n9")["code"] == "node_not_found"
    assert plan(world, agent="nobody")["code"] == "agent_not_found"
    assert plan(world, settings={"models.worker": "ollama/large"})["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("servers", "runtimes", "words"),
    [
        (
            (),
            {},
            "pancode node install n1 claude, then pancode node login n1 claude; or on n1: install Ollama",
        ),
        ((endpoint("ollama"),), {}, "on n1: ollama pull qwen3:8b"),
        ((), {"native": "ok"}, "native is ready; choose a model: pancode chat --runtime native"),
        ((), {"opencode": "ok"}, "opencode is ready; choose a model: pancode chat --runtime opencode"),
    ],
)
def test_nothing_that_talks_says_what_could_be_had(
    world: World, servers: tuple[EndpointFact, ...], runtimes: dict[str, str], words: str
) -> None:
    has(world, *servers, **runtimes)
    told = plan(world)
    assert told["code"] == "nothing_ready"
    assert told["fix"].startswith(words)
    refused = world.http.post("/v1/sessions", WORDS).json()
    assert refused["code"] == "nothing_ready" and world.context.rows(Run) == []


def test_a_judged_session_begins_nothing(world: World) -> None:
    has(world, endpoint("ollama", model("small", tested=True)))
    before = len(world.context.rows(Audit))
    assert plan(world)["admitted"] is True
    assert world.context.rows(Run) == [] and len(world.context.rows(Audit)) == before


def test_a_preset_is_that_of_the_session_and_of_what_it_dispatches(world: World) -> None:
    has(world, native="ok")
    body = {**WORDS, "preset": "mine", "runtime": "native"}
    run = world.http.post("/v1/sessions", body).json()["run"]
    (row,) = world.context.rows(Run)
    assert (row.id, row.asked_model, row.safety, row.terms["preset"]) == (
        run,
        "anthropic/quick",
        "full-auto",
        "mine",
    )
    assert [one["name"] for one in world.http.get("/v1/presets").json()["presets"] if one["applied"]] == []
