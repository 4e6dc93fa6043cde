"""Which model a dispatch asks for, who runs it, and on which node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pancode.domain.agents import Agent, Speed, Tier
from pancode.domain.models import ModelRef
from pancode.domain.request import Defaults
from pancode.domain.resolve import Unresolved, resolve
from pancode.domain.runtimes import RUNTIMES, model_for
from pancode.errors import NotFoundError, PancodeError, UsageError
from tests.unit.pancode.domain.fleets import BUILDER, SCOUT, catalogue, node, request, resolved

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
    chosen = resolved(node("desk"), node("gpubox"), model="gpubox/ollama/qwen3:8b", runtime="opencode")
    assert chosen.ref == ModelRef("gpubox", "ollama", "qwen3:8b")
    assert (chosen.model, chosen.request.node) == ("qwen3:8b", "gpubox")
    assert [c.name for c in chosen.candidates if c.why != "not the pinned node"] == ["gpubox"]
    same = resolved(node("gpubox"), model="gpubox/ollama/x", node="gpubox", runtime="opencode")
    assert same.request.node == "gpubox"


def test_another_node_than_the_models_is_refused() -> None:
    wrong = problem(model="gpubox/ollama/x", node="desk", runtime="opencode")
    assert isinstance(wrong, UsageError)
    assert str(wrong) == "the model gpubox/ollama/x is on gpubox, and --node says desk"
    assert wrong.fix == "--model ollama/x, or leave --node out"


def test_near_misses_of_nodes_and_providers() -> None:
    wrong = problem(model="gpubx/ollama/x")
    assert isinstance(wrong, NotFoundError)
    assert wrong.why == "did you mean gpubox?"
    assert "did you mean anthropic?" in problem(model="antropic/claude-opus-5").why
    assert "is no model" in str(problem(model="ollama/"))


@pytest.mark.parametrize("model", ["Qwen/Qwen3-8B", "hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M"])
def test_a_model_whose_own_name_has_slashes_is_asked_for_whole(model: str) -> None:
    chosen = resolved(model=model, runtime="opencode")
    assert (chosen.model, chosen.ref) == (model, ModelRef(None, None, model))


def test_a_vendors_name_is_part_of_what_a_nodes_own_server_calls_it() -> None:
    """LM Studio and OpenRouter name models like this, and these runtimes ask one server only."""
    for runtime in ("opencode", "copilot", "qwen"):
        assert resolved(model="openai/gpt-oss-20b", runtime=runtime).model == "openai/gpt-oss-20b"
    assert model_for(ModelRef("desk", "openai", "gpt-5.5"), RUNTIMES["native"]) == "gpt-5.5"
    assert resolved(model="openai/gpt-5.5").model == "gpt-5.5"


def test_without_its_provider_where_that_is_a_server() -> None:
    assert resolved(model="ollama/qwen3:8b", runtime="opencode").model == "qwen3:8b"
    assert resolved(model="lmstudio/openai/gpt-oss-20b", runtime="opencode").model == "openai/gpt-oss-20b"
    assert resolved(model="opus").model == "opus"


def test_a_local_model_asks_for_our_own_worker() -> None:
    assert "native" in str(problem(model="ollama/qwen3:8b"))
