"""A model named without its provider that is nowhere: told before anything runs, with what would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from node_agent.runtimes import registry
from node_agent.wire.endpoint import Dialect, Health, ModelFact
from pancode.agents.endpoints import pull_command
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.errors import NotFoundError
from pancode.kernel.node import NodeView
from pancode.runs.admission.plan import Plan
from pancode.runs.admission.resolution import Unresolved, resolve
from pancode.runs.request import Defaults
from tests.unit.pancode.kernel.fleets import BUILDER, catalogue, endpoint, node, request


@dataclass(frozen=True)
class Kept:
    names: Sequence[str]

    def knows(self, model: str) -> bool:
        return model in self.names


LISTS = {
    "anthropic": Kept(("claude-opus-5", "claude-sonnet-5")),
    "openai": Kept(("gpt-5.5",)),
}
OURS = {"native": "not_logged_in", "shell": "ok"}
"""As on a machine on which nobody has installed an agent."""


def asked(*nodes: NodeView, defaults: Defaults | None = None, **options: Any) -> Plan | Unresolved:
    settings: dict[str, Any] = {"vendors": LISTS, "defaults": defaults or Defaults()}
    return resolve(request(**options), catalogue(*nodes, **settings))


def missing(*nodes: NodeView, **options: Any) -> NotFoundError:
    found = asked(*nodes, **options)
    assert isinstance(found, Unresolved), found
    assert isinstance(found.error, NotFoundError), found.error
    assert found.error.code == "model_not_found"
    return found.error


GPUBOX = node("gpubox", OURS, endpoints=(endpoint("ollama", "qwen2.5-coder:7b", "gemma3:4b"),))


def test_the_nearest_who_could_have_it_and_how() -> None:
    wrong = missing(GPUBOX, node("desk", OURS), model="qwen2.5-codr")
    assert wrong.code == "model_not_found"
    assert "ollama/qwen2.5-coder:7b?" in wrong.why
    assert "ollama pull qwen2.5-codr" in wrong.fix
    assert wrong.details["near"] == "ollama/qwen2.5-coder:7b", "the command line shows the command with it"


def test_what_there_is_where_nothing_is_near() -> None:
    wrong = missing(GPUBOX, model="llama4-scout")
    assert "ollama/gemma3:4b" in wrong.why


def test_where_claude_is_its_own_names_go_to_it_and_others_do_not() -> None:
    there = node("desk", endpoints=(endpoint("ollama", "tiny:1b"),))
    for theirs in ("opus", "opus[1m]", "claude-opus-5", "claude-opus-6", "opusplan", "best"):
        assert isinstance(asked(there, model=theirs), Plan), theirs
    assert "nor is it on anthropic's list" in missing(there, model="qwen3").why
    assert "ollama/tiny:1b?" in missing(there, model="tinny").why
    assert "openai/gpt-5.5" in missing(there, model="gpt-5.5").fix


def test_its_own_name_on_a_machine_without_claude_is_no_models_fault() -> None:
    found = asked(GPUBOX, model="opus")
    assert isinstance(found, Plan)
    assert found.candidates[0].why == "has no runtime claude"


@pytest.mark.parametrize("runtime", [*RUNTIMES, "acp:kilo"])
def test_the_fix_of_a_missing_program_installs_it_where_that_can_be(runtime: str) -> None:
    chosen = runtime == "acp:kilo"  # such a program has chats alone, with its own model
    options = {"turns": {"idle_s": 60}} if chosen else {"model": "anthropic/claude-opus-5"}
    found = asked(node("desk", {}), runtime=runtime, **options)
    assert isinstance(found, Plan), found
    (one,) = found.candidates
    at = registry.RUNTIMES.get(runtime)
    comes = at is not None and at.program is not None
    assert one.why.startswith(f"has no runtime {runtime}")
    assert one.fix == (f"pancode node install desk {runtime}" if comes else "pancode agents runtimes")


def test_whoever_names_the_runtime_is_believed() -> None:
    assert isinstance(asked(node("desk"), model="qwen3", runtime="claude"), Plan)


def test_a_machine_that_was_not_heard_may_have_it() -> None:
    assert isinstance(asked(GPUBOX, node("attic", mute=True), model="qwen3"), Plan)


def test_a_servers_hidden_models_are_told_of() -> None:
    shut = node(
        "gpubox",
        OURS,
        endpoints=(
            endpoint("ollama", "gemma3:4b", more=3),
            endpoint("vault", dialect=Dialect.VLLM, health=Health.NEEDS_KEY, words="401"),
        ),
    )
    assert "gpubox/vault" in missing(shut, model="qwen3").why


@pytest.mark.parametrize(
    ("dialect", "command"),
    [
        (Dialect.LMSTUDIO, "lms get qwen3"),
        (Dialect.LLAMACPP, "llama-server -m FILE.gguf --alias qwen3"),
        (Dialect.OPENAI, "install a model server, for example Ollama: ollama pull qwen3"),
    ],
)
def test_the_command_is_that_of_the_server_that_is_there(dialect: Dialect, command: str) -> None:
    there = node("desk", OURS, endpoints=(endpoint("server", "other", dialect=dialect),))
    assert command in missing(there, model="qwen3").fix


@pytest.mark.parametrize(
    ("dialect", "name", "command"),
    [
        (Dialect.LLAMACPP, "Qwen/Qwen3-8B-GGUF:Q4_K_M", "llama-server -hf Qwen/Qwen3-8B-GGUF:Q4_K_M"),
        (Dialect.LLAMACPP, "hf.co/unsloth/Qwen3-8B-GGUF", "llama-server -hf unsloth/Qwen3-8B-GGUF"),
        (Dialect.LLAMACPP, "qwen3:8b", "llama-server -m FILE.gguf --alias qwen3:8b"),
        (Dialect.LLAMACPP, "a/b/c", "llama-server -m FILE.gguf --alias a/b/c"),
        (Dialect.LLAMACPP, "../x", "llama-server -m FILE.gguf --alias ../x"),
        (Dialect.LLAMACPP, "a/b:$(x)", "llama-server -m FILE.gguf --alias 'a/b:$(x)'"),
        (Dialect.VLLM, "Qwen/Qwen3-8B", "vllm serve Qwen/Qwen3-8B"),
        (Dialect.VLLM, "qwen3", "vllm serve FOLDER --served-model-name qwen3"),
        (
            Dialect.SGLANG,
            "q/3:8b",
            "python -m sglang.launch_server --model-path FOLDER --served-model-name q/3:8b",
        ),
        (Dialect.OLLAMA, "qwen3", "ollama pull qwen3"),
        (Dialect.OPENAI, "qwen3", ""),
    ],
)
def test_only_the_name_of_a_repository_is_one_to_fetch_by(dialect: Dialect, name: str, command: str) -> None:
    assert pull_command(dialect, name) == command


def test_without_any_server_and_with_one_that_makes_vectors_only() -> None:
    assert "no model server with a model was found" in missing(node("desk", OURS), model="qwen3").why
    vectors = endpoint("ollama", ModelFact(id="nomic:v1", embedding=True))
    assert (
        "no model server with a model" in missing(node("desk", OURS, endpoints=(vectors,)), model="nomic").why
    )


def test_a_model_of_the_settings_is_looked_for_as_well() -> None:
    wrong = missing(GPUBOX, defaults=Defaults(model="qwen3"))
    assert wrong.code == "model_not_found"
    assert "models.worker" in wrong.why
    there = node("desk", {"native": "ok"}, endpoints=(endpoint("ollama", "x"),))
    assert isinstance(asked(there, model="own", defaults=Defaults(runtime="native")), Plan)
    assert "did you mean" in missing(GPUBOX, model="gemma3:4", defaults=Defaults(runtime="native")).why


ORIGINS = {"models.worker": "preset mine, /home/x/panpresets.yaml:3"}


@pytest.mark.parametrize(
    "model", ["qwen3", "ollama/qwen3", "llamacpp/x", "antropic/x", "desc/ollama/x", "ollama/"]
)
def test_what_names_a_wrong_model_is_told_with_its_place(model: str) -> None:
    """A user who named none does not know where it comes from."""
    found = asked(GPUBOX, node("desk", OURS), defaults=Defaults(model=model, origins=ORIGINS))
    assert isinstance(found, Unresolved)
    assert "/home/x/panpresets.yaml:3" in found.error.why
    own = asked(GPUBOX, node("desk", OURS), model=model, defaults=Defaults(model=model, origins=ORIGINS))
    assert isinstance(own, Unresolved) and "names it" not in own.error.why
    other = asked(GPUBOX, defaults=Defaults(model="x", origins=ORIGINS), runtime="clade")
    assert isinstance(other, Unresolved) and "panpresets" not in other.error.why


def test_an_agent_that_names_a_wrong_model_is_told_with_its_place() -> None:
    agent = replace(BUILDER, model="ollama/qwen3", own=True, origin="panagents.yaml:7")
    found = resolve(request(), catalogue(GPUBOX, agents={"builder": agent}))
    assert isinstance(found, Unresolved)
    assert "panagents.yaml:7" in found.error.why
