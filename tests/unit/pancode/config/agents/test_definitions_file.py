"""The eight shipped agents, and panagents.yaml laid over them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from node_agent.wire.endpoint import Sampling
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import NetworkAccess
from pancode.agents.agents import TOOLS, AgentIsolation, AgentLimits, Autonomy, Role, Speed, Tier
from pancode.config.agents.definitions import LoadedAgents, check_agents, load_agents
from pancode.config.agents.format import AgentEntry
from pancode.config.schema import Models, Settings
from pancode.kernel.documents import parse_document
from pancode.kernel.errors import ConfigError, ExitCode

EIGHT = {
    "scout": (True, Tier.ANY, Speed.FAST),
    "planner": (True, Tier.FRONTIER, Speed.THOROUGH),
    "builder": (False, Tier.MID, Speed.BALANCED),
    "reviewer": (True, Tier.MID, Speed.THOROUGH),
    "plan-reviewer": (True, Tier.MID, Speed.THOROUGH),
    "documenter": (False, Tier.ANY, Speed.BALANCED),
    "red-team": (True, Tier.MID, Speed.THOROUGH),
    "panos": (True, Tier.ANY, Speed.BALANCED),
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


def test_the_eight(tmp_path: Path) -> None:
    agents = loaded(tmp_path).agents
    assert {name: (a.read_only, a.tier, a.speed) for name, a in agents.items()} == EIGHT
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
    assert set(found.agents) == set(EIGHT)


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
            "panagents.yaml:3: agents.x.sytem_prompt",
            "system_prompt",
        ),
        ("agnets: {}", "unknown key agnets", "agents?"),
        ("agents:\n  x: {tools: [gerp]}", "panagents.yaml:2: 'gerp'", "grep"),
        ("agents:\n  x: {tools: [bash]}", "x is read-only, but has the tool bash", "readonly: false"),
        (
            "agents:\n  scout: {readonly: false}\n  x: {runtime: claud}",
            "runtime 'claud' not found",
            "claude",
        ),
        ("agents:\n  Bad Name: {}", "'Bad Name' is not a valid agent name", "a-z"),
        ("agents:\n  x: {tier: huge}", "agents.x.tier: 'huge'", "correct"),
        ("agents:\n  x: {limits: {wall: 5}}", "agents.x.limits.wall: 5", "correct"),
        ("agents:\n  x: {model: 'a/${NOPE}'}", "uses ${NOPE}, which is not set", ""),
        ("agents: [x]", "agents:", "correct"),
        (
            "agents:\n  x:\n    runtime: claude\n    runtime_args: [--dangerously-skip-permissions]",
            "panagents.yaml:4: agent x: runtime_args are not allowed: --dangerously-skip-permissions",
            "remove runtime_args",
        ),
        ("agents:\n  x: {runtime: claude, sampling: coding}", "runtime claude does not support it", "native"),
        ("agents:\n  x: {sampling: codng}", "agents.x.sampling: 'codng'", "correct"),
        ("agents:\n  x: {sampling: {temperature: 3}}", "agents.x.sampling.temperature: 3", "correct"),
        ("agents:\n  x: {sampling: {heat: 1}}", "unknown key agents.x.sampling.heat", "valid keys"),
        (
            "agents:\n  x: {token_budget: 5, limits: {tokens: 6}}",
            "panagents.yaml:2: agent x: token_budget and limits.tokens contradict each other",
            "remove one",
        ),
        ("agents:\n  x: {max_turns: 5, limits: {turns: 6}}", "limits.turns", "remove"),
        ("agents:\n  x: {retry_on_failure: false, max_attempts: 3}", "retry_on_failure and max_attempts", ""),
        ("agents:\n  x: {retry_on_failure: true, max_attempts: 1}", "contradict each other", "remove one"),
        ("agents:\n  x: {max_turns: 0}", "agents.x.max_turns: 0", "correct"),
        ("agents:\n  x: {autonomy: free}", "agents.x.autonomy: 'free'", "correct"),
        ("agents:\n  x: {isolation: vm}", "agents.x.isolation: 'vm'", "correct"),
        ("agents:\n  x: {role: boss}", "agents.x.role: 'boss'", "correct"),
        ("agents:\n  x: {prompt: ../../etc/passwd}", "agents.x.prompt: '../../etc/passwd'", "correct"),
        ("agents:\n  x: {prompt: strict}", "prompt 'strict' not found", "prompts/strict.md"),
        (
            "agents:\n  x:\n    prompt: strict\n    system_prompt: me",
            "prompt 'strict' not found",
            "prompts/strict.md",
        ),
        ("agents:\n  x: {tools: read}", "agents.x.tools: 'read'", "write tools: ['read']"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, words: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert all(word in str(caught.value) for word in words.split(": ", 1))
    assert fix in caught.value.fix
    assert caught.value.exit_code is ExitCode.CONFIG
    assert (tmp_path / "panagents.yaml").read_text() == text


FIELDS: list[tuple[str, str, str, object]] = [
    ("description", "Mine", "description", "Mine"),
    ("system_prompt", "You are mine.", "prompt", "You are mine."),
    ("role", "scout", "role", Role.SCOUT),
    ("tools", "[read]", "tools", ("read",)),
    ("readonly", "false", "read_only", False),
    ("tier", "small", "tier", Tier.SMALL),
    ("speed", "fast", "speed", Speed.FAST),
    ("autonomy", "supervised", "autonomy", Autonomy.SUPERVISED),
    ("isolation", "container", "isolations", AgentIsolation.CONTAINER),
    ("network", "gateway", "network", NetworkAccess.GATEWAY),
    ("runtime", "cli:codex", "runtime", "codex"),
    ("node", "gpubox", "node", "gpubox"),
    ("gpus", "2", "gpus", "2"),
    ("gpu_memory", "24g", "gpu_memory", 24 * 10**9),
    ("model", "opus", "model", "opus"),
    ("reasoning", "high", "reasoning", Reasoning.HIGH),
    ("sampling", "coding", "sampling", Sampling(temperature=Decimal("0.2"), top_p=Decimal("0.95"))),
    ("token_budget", "200000", "limits", AgentLimits(tokens=200_000)),
    ("max_turns", "12", "limits", AgentLimits(turns=12)),
    ("limits", "{turns: 12, usd: 1}", "limits", AgentLimits(turns=12, usd=Decimal(1))),
    ("retry_on_failure", "true", "max_attempts", 2),
    ("max_attempts", "3", "max_attempts", 3),
    ("env", "[PGHOST]", "env", ("PGHOST",)),
    ("secrets", "[PGPASSWORD]", "secrets", ("PGPASSWORD",)),
    ("skills", "[deploy]", "skills", ("deploy",)),
    ("tags", "[sql]", "tags", ("sql",)),
    ("enabled", "false", "enabled", False),
]
"""Each field as written, and what it makes of the agent; what that does to a run is tested there."""
REFUSED_OR_ELSEWHERE = {"runtime_args", "prompt"}


@pytest.mark.parametrize(("field", "written", "name", "value"), FIELDS)
def test_every_field_makes_a_difference(
    tmp_path: Path, field: str, written: str, name: str, value: object
) -> None:
    agents = loaded(tmp_path, f"agents:\n  x: {{{field}: {written}}}\n  y: {{}}\n").agents
    assert getattr(agents["x"], name) == value
    assert getattr(agents["y"], name) != value


def test_no_field_is_forgotten() -> None:
    assert {field for field, *_ in FIELDS} | REFUSED_OR_ELSEWHERE == set(AgentEntry.model_fields)


def test_a_failure_is_not_tried_again_where_that_is_said(tmp_path: Path) -> None:
    text = "agents: {x: {retry_on_failure: false}, y: {retry_on_failure: true, max_attempts: 4}}"
    agents = loaded(tmp_path, text).agents
    assert (agents["x"].max_attempts, agents["y"].max_attempts) == (1, 4)


def test_words_are_chosen_by_a_preset_and_what_is_said_over_it(tmp_path: Path) -> None:
    text = "agents: {x: {sampling: {preset: reasoning, temperature: 0.1, presence_penalty: -0.5}}}"
    said = loaded(tmp_path, text).agents["x"].sampling
    assert said is not None
    assert said.model_dump(mode="json") == {
        "temperature": "0.1",
        "top_p": "0.95",
        "top_k": 20,
        "presence_penalty": "-0.5",
    }


def test_who_the_agent_is_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "strict.md").write_text("You are strict.\n")
    assert loaded(tmp_path, "agents: {reviewer: {prompt: strict}}").agents["reviewer"].prompt == (
        "You are strict.\n"
    )
    with pytest.raises(ConfigError, match="system_prompt"):
        loaded(tmp_path, "agents: {x: {prompt: strict, system_prompt: me}}")
    with pytest.raises(ConfigError, match=r"panagents.yaml:1: .*'strct'") as caught:
        loaded(tmp_path, "agents: {x: {prompt: strct}}")
    assert "strict?" in caught.value.why
    (tmp_path / "prompts" / "strict.md").write_text(" \n")
    with pytest.raises(ConfigError, match=r"strict\.md is empty"):
        loaded(tmp_path, "agents: {reviewer: {prompt: strict}}")


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = """agnets: {}
agents:
  a: {tools: [gerp, bash]}
  b: {tier: huge, speed: slow}
  Bad Name: {}
  c: {runtime_args: [-x], model: 'a/${NOPE}'}
  d: {description: fine}
"""
    document = parse_document(text, "f")
    found = check_agents(tmp_path, Settings(), {}, document)
    places = [str(one).partition(": ")[0] for one in found.problems]
    assert sorted(places) == ["f:1", "f:3", "f:3", "f:4", "f:4", "f:5", "f:6", "f:6"]
    assert "d" in found.loaded.agents and not {"b", "c"} & set(found.loaded.agents)
    (tmp_path / "panagents.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_agents(tmp_path, Settings(), {})
    assert "7 more" in caught.value.why


def checked(home: Path, text: str) -> list[str]:
    return [str(one) for one in check_agents(home, Settings(), {}, parse_document(text, "f")).problems]


def test_what_fields_name_is_told_beside_types_that_do_not_fit(tmp_path: Path) -> None:
    text = """agents:
  x:
    tier: huge
    tols: [read]
    tools: [gerp, bash]
    runtime: claud
    model: a/${NOPE}
    prompt: strict
    token_budget: 5
    limits: {tokens: 6, wall: 7}
  Bad Name:
    speed: slow
"""
    told = checked(tmp_path, text)
    lines = sorted(int(one.split(":")[1]) for one in told)
    assert lines == [3, 4, 5, 5, 6, 7, 8, 10, 11, 12], told
    assert not any("contradict" in one for one in told), "limits as a whole is not known"


@pytest.mark.parametrize(
    "text",
    [
        "agents:\n  x: {readonly: maybe, tools: [bash]}",
        "agents:\n  x: {runtime: [claude], sampling: coding}",
        "agents:\n  x: {token_budget: many, limits: {tokens: 6}}",
        "agents:\n  x: {prompt: strict, system_prompt: [me]}",
    ],
)
def test_nothing_is_guessed_from_a_field_that_could_not_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "strict.md").write_text("You are strict.\n")
    assert len(checked(tmp_path, text)) == 1


WRONG = (
    "5",
    "-1",
    "0",
    "1.5",
    "true",
    "text",
    "'{}'",
    "[1]",
    "[[]]",
    "{a: 1}",
    "",
    "!!float nan",
    "99999999999",
)
NOT_OURS = re.compile(r"Input should|Value error|Decimal input|valid (?:string|integer|boolean|number|dict)")


@pytest.mark.parametrize(
    "field", [*AgentEntry.model_fields, "limits.wall", "limits.tokens", "sampling.top_p"]
)
def test_no_word_of_the_library_that_reads_types_comes_out(tmp_path: Path, field: str) -> None:
    group, _, key = field.rpartition(".")
    for value in WRONG:
        entry = f"{{{group}: {{{key}: {value}}}}}" if group else f"{{{key}: {value}}}"
        document = parse_document(f"agents:\n  x: {entry}\n", "f")
        for one in check_agents(tmp_path, Settings(), {}, document).problems:
            said = f"{one} {one.why} {one.fix}"
            assert str(one).startswith("f:2: ") and one.why and one.fix, (value, said)
            assert not NOT_OURS.search(said), (value, said)


def test_a_choice_is_told_with_the_nearest_and_the_list(tmp_path: Path) -> None:
    document = parse_document("agents:\n  x: {tier: fronteer, max_turns: 0}", "f")
    tier, turns = check_agents(tmp_path, Settings(), {}, document).problems
    assert "frontier?" in tier.why
    assert turns.why == "it must be more than 0"


def test_what_is_probably_not_meant_is_a_remark(tmp_path: Path) -> None:
    document = parse_document("agents:\n  x:\n    token_budget: 4000\n", "f")
    found = check_agents(tmp_path, Settings(), {}, document)
    assert not found.problems
    assert [str(one) for one in found.remarks] == [
        "f:3: agent x: with 4000 tokens, a run ends at its first or second model call"
    ]


SEEDS = """# ~/.pancode/panagents.yaml
agents:
  dev:
    description: Developer
    model: ${PANCODE_WORKER_MODEL}
    runtime: cli:claude-code
    tools: [read, grep, find, ls, edit, write, bash]
    sampling: {}
    readonly: false
    system_prompt: You write code.
    runtime_args: []
    tier: mid
    prompt: default
    speed: balanced
    autonomy: supervised
    isolation: none
    max_turns: 20
    retry_on_failure: true
    tags: [code]
  scout:
    model: ${PANCODE_WORKER_MODEL}
"""


def test_a_file_in_the_form_of_the_original_is_read_as_it_stands(tmp_path: Path) -> None:
    """The one that it overwrote at its start, since its first agent has a model and no speed, stays, too."""
    agents = loaded(tmp_path, SEEDS, models=Models(worker="opus")).agents
    dev = agents["dev"]
    assert (dev.model, dev.runtime, dev.max_attempts, dev.limits.turns) == ("opus", "claude", 2, 20)
    assert agents["scout"].model == "opus"
    text = "agents:\n  scout:\n    model: x # mine\n"
    assert loaded(tmp_path, text).agents["scout"].model == "x"
    assert (tmp_path / "panagents.yaml").read_text() == text
