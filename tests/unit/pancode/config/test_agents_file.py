"""The seven shipped agents, and panagents.yaml laid over them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from pancode.config.agents import LoadedAgents, load_agents
from pancode.config.schema import Models, Settings
from pancode.domain.agents import TOOLS, AgentLimits, Speed, Tier
from pancode.errors import ConfigError, ExitCode

SEVEN = {
    "scout": (True, Tier.ANY, Speed.FAST),
    "planner": (True, Tier.FRONTIER, Speed.THOROUGH),
    "builder": (False, Tier.MID, Speed.BALANCED),
    "reviewer": (True, Tier.MID, Speed.THOROUGH),
    "plan-reviewer": (True, Tier.MID, Speed.THOROUGH),
    "documenter": (False, Tier.ANY, Speed.BALANCED),
    "red-team": (True, Tier.MID, Speed.THOROUGH),
}


def loaded(
    home: Path,
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    models: Models | None = None,
) -> LoadedAgents:
    if text is not None:
        (home / "panagents.yaml").write_text(text)
    return load_agents(home, Settings(models=models or Models()), environ or {})


def test_the_seven(tmp_path: Path) -> None:
    agents = loaded(tmp_path).agents
    assert {name: (a.read_only, a.tier, a.speed) for name, a in agents.items()} == SEVEN
    assert all(len(agent.prompt) > 200 and agent.description for agent in agents.values())
    assert all(agent.model is None and agent.runtime is None for agent in agents.values())
    assert agents["builder"].tools == TOOLS
    assert loaded(tmp_path).origin("scout").startswith("built-in")


def test_a_user_changes_one_key_and_keeps_the_rest(tmp_path: Path) -> None:
    found = loaded(tmp_path, "agents:\n  scout:\n    runtime: cli:claude-code\n    limits: {usd: 0.10}\n")
    scout, before = found.agents["scout"], loaded(tmp_path / "none").agents["scout"]
    assert (scout.runtime, scout.prompt, scout.tools) == ("claude", before.prompt, before.tools)
    assert scout.limits == AgentLimits(wall_ms=600_000, usd=Decimal("0.10"))
    assert found.origin("scout") == f"{tmp_path}/panagents.yaml:2"
    assert set(found.agents) == set(SEVEN)


def test_a_user_adds_an_agent(tmp_path: Path) -> None:
    text = """
agents:
  migrator:
    description: Database migrations
    readonly: false
    tools: [read, edit, bash]
    model: ollama/${SIZE}-coder
    limits: {wall: 2h, tokens: 100000}
    max_attempts: 2
    env: [PGHOST]
    secrets: [PGPASSWORD]
"""
    agent = loaded(tmp_path, text, {"SIZE": "32b"}).agents["migrator"]
    assert (agent.tools, agent.model, agent.max_attempts) == (("read", "edit", "bash"), "ollama/32b-coder", 2)
    assert agent.limits == AgentLimits(wall_ms=7_200_000, tokens=100_000)
    assert (agent.env, agent.secrets) == (("PGHOST",), ("PGPASSWORD",))


@pytest.mark.parametrize(
    ("model", "models", "expected"),
    [
        ("${PANCODE_WORKER_MODEL}", Models(worker="opus"), "opus"),
        ("${PANCODE_WORKER_MODEL}", Models(), None),
        ("${PANCODE_SCOUT_MODEL}", Models(worker="opus"), "opus"),
        ("${PANCODE_SCOUT_MODEL}", Models(worker="opus", scout="haiku"), "haiku"),
        ("${PANCODE_MODEL}", Models(orchestrator="big"), "big"),
        ("fixed", Models(worker="opus"), "fixed"),
    ],
)
def test_variables_in_a_model(tmp_path: Path, model: str, models: Models, expected: str | None) -> None:
    text = f"agents: {{x: {{model: '{model}'}}}}"
    assert loaded(tmp_path, text, models=models).agents["x"].model == expected


def test_the_shipped_scout_takes_the_scouts_model(tmp_path: Path) -> None:
    assert loaded(tmp_path, models=Models(scout="haiku")).agents["scout"].model == "haiku"
    assert loaded(tmp_path, models=Models(scout="haiku")).agents["builder"].model is None


@pytest.mark.parametrize(
    ("text", "words", "fix"),
    [
        (
            "agents:\n  x:\n    sytem_prompt: y",
            "panagents.yaml:3: unknown key agents.x.sytem_prompt",
            "system_prompt",
        ),
        ("agnets: {}", "unknown key agnets", "did you mean agents?"),
        ("agents:\n  x: {tools: [gerp]}", "panagents.yaml:2: there is no tool 'gerp'", "grep"),
        ("agents:\n  x: {tools: [bash]}", "x is read-only and has the tool bash", "readonly: false"),
        (
            "agents:\n  scout: {readonly: false}\n  x: {runtime: claud}",
            "there is no runtime 'claud'",
            "claude",
        ),
        ("agents:\n  Bad Name: {}", "'Bad Name' is no name for an agent", "a-z"),
        ("agents:\n  x: {tier: huge}", "agents.x.tier: 'huge' does not fit", "correct"),
        ("agents:\n  x: {limits: {wall: 5}}", "agents.x.limits.wall: 5 does not fit", "correct"),
        ("agents:\n  x: {model: 'a/${NOPE}'}", "names ${NOPE}, which is not set", ""),
        ("agents: [x]", "agents: does not fit", "correct"),
        ("agents:\n  x: {tools: read}", "agents.x.tools: 'read' does not fit", "write tools: ['read']"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, words: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert words in str(caught.value)
    assert fix in caught.value.fix
    assert caught.value.exit_code is ExitCode.CONFIG
    assert (tmp_path / "panagents.yaml").read_text() == text
