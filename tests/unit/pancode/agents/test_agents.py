"""Definitions that make sense, those that do not, and the names of agents, runtimes and models."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from node_agent.wire.endpoint import Sampling
from node_agent.wire.policy import Mode, Safety
from pancode.agents.agents import Agent, Role, Speed, find_agent, find_flaws
from pancode.agents.models import model_ref
from pancode.agents.runtimes import RUNTIMES, foreign_provider, resolve_alias, rule_of, runtime_for
from pancode.kernel.errors import NotFoundError
from tests.unit.pancode.kernel.fleets import AGENTS, BUILDER, SCOUT

WARM = Sampling(temperature=Decimal("0.2"))


def test_an_agent_by_name_and_by_alias() -> None:
    assert find_agent(AGENTS, "scout") is SCOUT
    assert find_agent(AGENTS, "dev") is BUILDER
    own = {**AGENTS, "dev": replace(SCOUT, name="dev")}
    assert find_agent(own, "dev").name == "dev"


def test_an_unknown_agent_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="agent 'bilder' not found") as caught:
        find_agent(AGENTS, "bilder")
    assert "builder?" in caught.value.why
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("agent", "field", "words"),
    [
        (replace(SCOUT, tools=("read", "gerp")), "tools", "tool 'gerp' not found"),
        (replace(SCOUT, tools=("read", "bash")), "tools", "read-only, but has the tool bash"),
        (replace(BUILDER, runtime="claud"), "runtime", "runtime 'claud' not found"),
        (replace(BUILDER, runtime="claude", sampling=WARM), "sampling", "runtime claude does not support it"),
    ],
)
def test_a_definition_that_makes_no_sense(agent: Agent, field: str, words: str) -> None:
    found = list(find_flaws(agent))
    assert [flaw.field for flaw in found] == [field]
    assert words in found[0].what and found[0].fix


def test_all_that_is_wrong_is_told() -> None:
    assert len(list(find_flaws(replace(SCOUT, tools=("x", "bash"), runtime="claud")))) == 3


def test_definitions_that_make_sense() -> None:
    native = replace(BUILDER, runtime="native", sampling=WARM)
    for agent in (BUILDER, SCOUT, native, replace(BUILDER, sampling=WARM), replace(BUILDER, runtime="codex")):
        assert not list(find_flaws(agent))


@pytest.mark.parametrize(
    ("agent", "role"),
    [
        (BUILDER, Role.WORKER),
        (replace(BUILDER, speed=Speed.FAST), Role.WORKER),
        (SCOUT, Role.REVIEWER),
        (replace(SCOUT, speed=Speed.FAST), Role.SCOUT),
        (replace(SCOUT, said_role=Role.PLANNER), Role.PLANNER),
    ],
)
def test_a_role_is_said_or_follows_from_what_the_agent_does(agent: Agent, role: Role) -> None:
    assert agent.role is role


def test_names_of_runtimes() -> None:
    assert resolve_alias("cli:claude-code") == "claude"
    assert resolve_alias("pi") == "native"
    assert resolve_alias("shell") == "shell"


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
