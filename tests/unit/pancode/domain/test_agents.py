"""Definitions that make sense, those that do not, and the prompt of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node_agent.wire.policy import Mode, Safety
from pancode.domain.agents import check_agent, compile_prompt, find_agent
from pancode.domain.models import model_ref
from pancode.domain.runtimes import RUNTIMES, canonical, foreign_provider, rule_of, runtime_for
from pancode.errors import ConfigError, NotFoundError
from tests.unit.pancode.domain.fleets import AGENTS, BUILDER, SCOUT


def test_an_agent_by_name_and_by_alias() -> None:
    assert find_agent(AGENTS, "scout") is SCOUT
    assert find_agent(AGENTS, "dev") is BUILDER
    own = {**AGENTS, "dev": replace(SCOUT, name="dev")}
    assert find_agent(own, "dev").name == "dev"


def test_an_unknown_agent_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="no agent 'bilder'") as caught:
        find_agent(AGENTS, "bilder")
    assert caught.value.why == "did you mean builder?"
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (replace(SCOUT, tools=("read", "gerp")), "no tool 'gerp'"),
        (replace(SCOUT, tools=("read", "bash")), "read-only and has the tool bash"),
        (replace(BUILDER, runtime="claud"), "no runtime 'claud'"),
    ],
)
def test_a_definition_that_makes_no_sense(agent: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        check_agent(agent, "panagents.yaml")  # type: ignore[arg-type]
    assert "panagents.yaml" in str(caught.value)
    assert caught.value.fix


def test_definitions_that_make_sense() -> None:
    for agent in (BUILDER, SCOUT, replace(BUILDER, runtime="cli:claude-code")):
        check_agent(agent, "x")


@pytest.mark.parametrize(
    ("agent", "mode", "safety", "rule"),
    [
        (SCOUT, Mode.BUILD, Safety.FULL_AUTO, "read only"),
        (BUILDER, Mode.REVIEW, Safety.AUTO_EDIT, "read only"),
        (BUILDER, Mode.BUILD, Safety.SUGGEST, "read only"),
        (BUILDER, Mode.BUILD, Safety.AUTO_EDIT, "push nothing"),
        (BUILDER, Mode.BUILD, Safety.FULL_AUTO, "Rewrite no history, change"),
    ],
)
def test_the_prompt_has_the_agent_first_and_then_its_rule(
    agent: object, mode: Mode, safety: Safety, rule: str
) -> None:
    prompt = compile_prompt(agent, mode, safety)  # type: ignore[arg-type]
    assert prompt.startswith("You ")
    assert rule in prompt
    assert prompt.count("Rules of this run") == 1


def test_names_of_runtimes() -> None:
    assert canonical("cli:claude-code") == "claude"
    assert canonical("shell") == "shell"


@pytest.mark.parametrize(
    ("model", "runtime"),
    [
        ("anthropic/claude-sonnet-4", "claude"),
        ("openai-codex/gpt-5.5", "codex"),
        ("google/gemini-3", "gemini"),
        ("ollama/qwen3:8b", "native"),
        ("groq/llama-3.3-70b", "native"),
        ("opus", None),
        ("Qwen/Qwen3-8B", None),
    ],
)
def test_the_runtime_that_a_model_asks_for(model: str, runtime: str | None) -> None:
    assert runtime_for(model_ref(model)) == runtime
    assert runtime_for(None) is None


def test_providers_that_a_runtime_cannot_use() -> None:
    claude, opencode = RUNTIMES["claude"], RUNTIMES["opencode"]
    assert foreign_provider(model_ref("ollama/qwen3:8b"), claude) == "ollama"
    assert foreign_provider(model_ref("anthropic/x"), claude) is None
    assert foreign_provider(model_ref("opus"), claude) is None
    assert foreign_provider(model_ref("ollama/qwen3:8b"), opencode) is None
    assert foreign_provider(None, claude) is None


def test_a_rule_is_read_only_unless_everything_lets_it_write() -> None:
    writes = {
        (mode, safety, read_only): rule_of(mode, safety, read_only) != "read-only"
        for mode in Mode
        for safety in Safety
        for read_only in (True, False)
    }
    assert [case for case, may in writes.items() if may] == [
        (Mode.BUILD, Safety.AUTO_EDIT, False),
        (Mode.BUILD, Safety.FULL_AUTO, False),
    ]
