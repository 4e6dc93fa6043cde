"""Which model a dispatch asks for, who runs it, and on which node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from node_agent.wire.job import Reasoning as Level
from node_agent.wire.model import FleetTime
from pancode.agents.agents import Agent, Speed, Tier
from pancode.agents.models import ModelRef
from pancode.agents.runtimes import RUNTIMES, model_for
from pancode.kernel.errors import NotFoundError, PancodeError, UsageError
from pancode.runs.admission.resolution import Unresolved, resolve
from pancode.runs.life.jobs import job_for
from pancode.runs.request import Defaults
from tests.unit.pancode.kernel.fleets import BUILDER, SCOUT, catalogue, endpoint, node, request, resolved

FOR = ("f-0001", "0123456789", 1, (0, FleetTime(epoch=1, ms=1)))
FLEET = Defaults(model="anthropic/workers", scout_model="google/scouts")


def found(agent: Agent = BUILDER, **options: Any) -> tuple[str, str | None]:
    chosen = resolved(settings={"agents": {"builder": agent}, "defaults": FLEET}, **options)
    return chosen.runtime.name, chosen.model


def problem(**options: Any) -> PancodeError:
    wrong = resolve(request(**options), catalogue(node("desk"), node("gpubox")))
    assert isinstance(wrong, Unresolved)
    return wrong.error


def test_scouts_have_a_model_of_their_own() -> None:
    scout = replace(SCOUT, name="builder", tier=Tier.ANY, speed=Speed.FAST)
    assert found(scout) == ("gemini", "scouts")
    assert found(replace(scout, model="openai/own")) == ("codex", "own")
    assert found(scout, model="opus") == ("claude", "opus")
    for other in (
        replace(scout, tier=Tier.MID),
        replace(scout, speed=Speed.BALANCED),
        replace(scout, read_only=False),
    ):
        assert found(other) == ("claude", "workers")
    without = {"agents": {"builder": scout}, "defaults": replace(FLEET, scout_model=None)}
    assert resolved(settings=without).model == "workers"


def test_a_node_in_a_models_name_pins_the_run() -> None:
    gpubox = node("gpubox", endpoints=(endpoint("ollama", "qwen3:8b", "x"),))
    chosen = resolved(node("desk"), gpubox, model="gpubox/ollama/qwen3:8b", runtime="opencode")
    assert chosen.ref == ModelRef("gpubox", "ollama", "qwen3:8b")
    assert (chosen.model, chosen.request.node) == ("qwen3:8b", "gpubox")
    assert [c.name for c in chosen.candidates if c.why != "not the pinned node"] == ["gpubox"]
    same = resolved(gpubox, model="gpubox/ollama/x", node="gpubox", runtime="opencode")
    assert same.request.node == "gpubox"


def test_another_node_than_the_models_is_refused() -> None:
    fleet = catalogue(node("desk"), node("gpubox", endpoints=(endpoint("ollama", "x"),)))
    answer = resolve(request(model="gpubox/ollama/x", node="desk", runtime="opencode"), fleet)
    assert isinstance(answer, Unresolved)
    wrong = answer.error
    assert isinstance(wrong, UsageError)
    assert "gpubox/ollama/x" in str(wrong)
    assert "--model ollama/x" in wrong.fix and not wrong.why


def test_a_refusal_says_which_setting_names_the_models_node() -> None:
    boxes = (node("desk"), node("gpubox", endpoints=(endpoint("ollama", "x"),)))
    set_by = Defaults(model="gpubox/ollama/x", origins={"models.worker": "pancode.yaml:3"})
    answer = resolve(request(node="desk"), replace(catalogue(*boxes), defaults=set_by))
    assert isinstance(answer, Unresolved)
    assert "pancode.yaml:3" in answer.error.why


def test_near_misses_of_nodes_and_providers() -> None:
    wrong = problem(model="gpubx/ollama/x")
    assert isinstance(wrong, NotFoundError)
    assert "gpubox?" in wrong.why
    assert "anthropic?" in problem(model="antropic/claude-opus-5").why
    assert "is not a valid model" in str(problem(model="ollama/"))


@pytest.mark.parametrize("model", ["Qwen/Qwen3-8B", "hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M"])
def test_a_model_whose_own_name_has_slashes_is_asked_for_whole(model: str) -> None:
    chosen = resolved(model=model, runtime="opencode")
    assert (chosen.model, chosen.ref) == (model, ModelRef(None, None, model))


def test_a_vendors_name_is_part_of_what_a_nodes_own_server_calls_it() -> None:
    """LM Studio and OpenRouter name models like this, and these runtimes ask one server only."""
    for runtime in ("opencode", "copilot"):
        assert resolved(model="openai/gpt-oss-20b", runtime=runtime).model == "openai/gpt-oss-20b"
    assert model_for(ModelRef("desk", "openai", "gpt-5.5"), RUNTIMES["codex"]) == "gpt-5.5"
    assert resolved(model="openai/gpt-5.5").model == "gpt-5.5"


def test_our_own_worker_is_told_the_vendor_too() -> None:
    """Its node holds the keys of several of them."""
    assert resolved(model="groq/llama-3.3-70b", runtime="native").model == "groq/llama-3.3-70b"


def test_without_its_provider_where_that_is_a_server() -> None:
    servers = (endpoint("ollama", "qwen3:8b"), endpoint("lmstudio", "openai/gpt-oss-20b"))
    there = node("desk", endpoints=servers)
    assert resolved(there, model="ollama/qwen3:8b", runtime="opencode").model == "qwen3:8b"
    chosen = resolved(there, model="lmstudio/openai/gpt-oss-20b", runtime="opencode")
    assert chosen.model == "openai/gpt-oss-20b"
    assert resolved(model="opus").model == "opus"


def test_a_local_model_asks_for_our_own_worker() -> None:
    there = node("desk", endpoints=(endpoint("ollama", "qwen3:8b"),))
    assert resolved(there, model="ollama/qwen3:8b").runtime.name == "native"


def test_a_bare_name_is_found_at_the_only_endpoint_that_has_it() -> None:
    gpubox = node("gpubox", endpoints=(endpoint("ollama", "qwen2.5-coder:7b", "Qwen/Qwen3-8B"),))
    other = node("attic", endpoints=(endpoint("ollama", "qwen2.5-coder:7b"),))
    for name in ("qwen2.5-coder:7b", "Qwen/Qwen3-8B"):
        chosen = resolved(gpubox, other, model=name)
        assert (chosen.runtime.name, chosen.ref) == ("native", ModelRef(None, "ollama", name))
        assert chosen.wanted is not None and chosen.wanted.endpoint == "ollama"
    default = {"defaults": Defaults(model="qwen2.5-coder:7b")}
    assert resolved(gpubox, settings=default).ref == ModelRef(None, "ollama", "qwen2.5-coder:7b")
    assert resolved(gpubox, model="opus").runtime.name == "claude"
    assert resolved(gpubox, model="qwen2.5-coder:7b", runtime="claude").wanted is None


def test_a_bare_name_that_several_endpoints_have_is_asked_about() -> None:
    nodes = (
        node("gpubox", endpoints=(endpoint("ollama", "qwen3:8b"), endpoint("vllm", "else"))),
        node("attic", endpoints=(endpoint("lmstudio", "qwen3:8b"),)),
    )
    wrong = resolve(request(model="qwen3:8b"), catalogue(*nodes))
    assert isinstance(wrong, Unresolved) and isinstance(wrong.error, UsageError)
    assert wrong.error.code == "model_ambiguous"
    assert "lmstudio/qwen3:8b" in wrong.error.why
    assert resolved(*nodes, model="qwen3:8b", node="attic").ref == ModelRef(None, "lmstudio", "qwen3:8b")


def test_an_empty_model_is_none_at_all_and_said_to_be_none() -> None:
    assert str(problem(model="")) == "'' is not a valid model"


@pytest.mark.parametrize(
    ("flag", "own", "fleet", "expected"),
    [
        (None, None, None, None),
        (None, None, Level.LOW, Level.LOW),
        (None, Level.HIGH, Level.LOW, Level.HIGH),
        (Level.OFF, Level.HIGH, Level.LOW, Level.OFF),
    ],
)
def test_reasoning_flag_then_agent_then_fleet(
    flag: Level | None, own: Level | None, fleet: Level | None, expected: Level | None
) -> None:
    settings = {
        "agents": {"builder": replace(BUILDER, reasoning=own)},
        "defaults": replace(FLEET, reasoning=fleet),
    }
    chosen = resolved(settings=settings, reasoning=flag)
    assert (chosen.reasoning, chosen.unasked) == (expected, None)
    assert job_for(chosen.run("r-0001", 0, "t", {"kind": "none"}), *FOR).reasoning is expected


@pytest.mark.parametrize(
    ("runtime", "level", "why", "fix"),
    [
        ("claude", Level.MINIMAL, "it supports off, low, medium, high, xhigh", "use --reasoning low"),
        ("gemini", Level.OFF, "it supports minimal, low, medium, high", "use --reasoning minimal"),
        ("gemini", Level.XHIGH, "it supports minimal, low, medium, high", "use --reasoning high"),
        ("copilot", Level.OFF, "it supports minimal, low, medium, high, xhigh", "use --reasoning minimal"),
        ("shell", Level.HIGH, "none of its models has reasoning levels", "omit --reasoning"),
    ],
)
def test_a_level_that_a_runtime_does_not_take_is_refused(
    runtime: str, level: Level, why: str, fix: str
) -> None:
    wrong = problem(runtime=runtime, reasoning=level)
    assert isinstance(wrong, UsageError)
    assert runtime in str(wrong) and level in str(wrong)
    assert (wrong.why, wrong.fix.split(",")[0]) == (why, fix)


def test_an_agents_level_is_refused_alike_but_means_nothing_to_a_program_of_ones_own() -> None:
    settings = {"agents": {"builder": replace(BUILDER, reasoning=Level.OFF)}}
    wrong = resolve(request(runtime="gemini"), catalogue(**settings))
    assert isinstance(wrong, Unresolved)
    assert wrong.error.code == "reasoning_not_taken"
    assert resolved(settings=settings, runtime="shell").reasoning is None


def test_a_level_of_the_settings_that_a_runtime_does_not_take_is_said_and_left_out() -> None:
    settings = {"defaults": replace(FLEET, reasoning=Level.XHIGH)}
    chosen = resolved(node("desk", {"gemini": "ok"}), settings=settings, runtime="gemini")
    assert (chosen.reasoning, chosen.unasked) == (None, Level.XHIGH)
    assert resolved(settings=settings, runtime="shell").unasked is None


@dataclass
class Listed:
    """A vendor's list that knows these names and no others."""

    names: Sequence[str] = ("claude-haiku-4-5", "claude-opus-5", "claude-opus-5-5")

    def knows(self, model: str) -> bool:
        return model in self.names


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("anthropic/claude-opus-5", ""),
        ("claude-opus-5", ""),
        ("opus", ""),
        ("anthropic/claude-opus-55", "claude-opus-5-5?"),
        ("o9", "; the list includes claude-haiku-4-5, claude-opus-5, claude-opus-5-5"),
        (None, ""),
    ],
)
def test_a_vendors_model_that_nobody_has_heard_of_is_said(model: str | None, words: str) -> None:
    chosen = resolved(settings={"vendors": {"anthropic": Listed()}}, model=model, runtime="claude")
    assert words in chosen.unlisted and bool(words) is bool(chosen.unlisted)
    assert resolved(model=model, runtime="claude").unlisted == "", "without a list nobody can say"


def test_of_a_nodes_own_server_nobody_can_say_what_it_has() -> None:
    settings = {"vendors": {"openai": Listed()}}
    assert resolved(settings=settings, model="openai/gpt-9", runtime="opencode").unlisted == ""
