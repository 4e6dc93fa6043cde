"""The runtime `claude`: its command line is the measured one, and user text never reaches it."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from node_agent.runtimes.base import Resume
from node_agent.runtimes.claude.command import launch
from node_agent.wire.policy import Mode, Safety
from node_agent.wire.receipt import Usage
from node_agent.wire.skill import JobSkill, digest_of, pack_files
from tests.unit.node_agent.runtimes.asked import LIMITS, PLACE, ask, place

HEAD = ("claude", "-p", "--output-format", "stream-json", "--verbose", "--model", "m")
FIXED = ("--setting-sources", "", "--strict-mcp-config", "--permission-prompts", "none")
READ = ("--tools", "Read,Grep,Glob", "--permission-mode", "dontAsk", "--restricted")
EDIT = ("--tools", "Read,Grep,Glob,Edit,Write", "--permission-mode", "acceptEdits", "--restricted")
FULL = ("--tools", "Read,Grep,Glob,Edit,Write,Bash", "--permission-mode", "bypassPermissions")


@pytest.mark.parametrize(
    ("mode", "safety", "read_only", "rules"),
    [
        (Mode.BUILD, Safety.AUTO_EDIT, False, EDIT),
        (Mode.BUILD, Safety.AUTO_EDIT, True, READ),
        (Mode.BUILD, Safety.SUGGEST, False, READ),
        (Mode.BUILD, Safety.FULL_AUTO, False, FULL),
        (Mode.BUILD, Safety.FULL_AUTO, True, READ),
        (Mode.PLAN, Safety.FULL_AUTO, False, READ),
        (Mode.REVIEW, Safety.AUTO_EDIT, False, READ),
        (Mode.ADMIN, Safety.AUTO_EDIT, False, READ),
    ],
)
def test_mode_level_and_agent_become_flags(
    mode: Mode, safety: Safety, read_only: bool, rules: tuple[str, ...]
) -> None:
    made = launch(ask(mode=mode, safety=safety, read_only=read_only, model="m"), PLACE)
    assert made.argv == HEAD + FIXED + rules


def test_limits_resume_and_prompt_become_flags_and_files() -> None:
    limits = LIMITS.model_copy(update={"usd": Decimal("0.50")})
    resume = Resume("s-1", Usage())
    made = launch(ask(prompt="be kind", limits=limits, resume=resume), PLACE)
    assert made.argv[-6:] == (
        *("--append-system-prompt-file", "/node/homes/r/prompt.md"),
        *("--max-budget-usd", "0.50"),
        *("--resume", "s-1"),
    )
    assert made.files["prompt.md"] == b"be kind"
    assert "--model" not in made.argv


def test_the_environment_is_the_runs_own() -> None:
    env = launch(ask(), place(env={"ANTHROPIC_API_KEY": "k", "CLAUDE_CONFIG_DIR": "/root/.claude"})).env
    assert env["ANTHROPIC_API_KEY"] == "k"
    assert env["CLAUDE_CONFIG_DIR"] == "/node/homes/r/claude"
    assert env["DISABLE_AUTOUPDATER"] == env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    assert "IS_SANDBOX" not in env


def test_only_full_auto_as_root_says_that_it_is_in_a_sandbox() -> None:
    root = place(is_root=True)
    assert launch(ask(safety=Safety.FULL_AUTO), root).env["IS_SANDBOX"] == "1"
    assert "IS_SANDBOX" not in launch(ask(), root).env
    assert "IS_SANDBOX" not in launch(ask(safety=Safety.FULL_AUTO, read_only=True), root).env


def test_its_own_switch_keeps_skills_from_running_commands_also_where_it_has_no_hook() -> None:
    files = {"SKILL.md": (b"---\nname: deploy\ndescription: D.\n---\n!`id`\n", False)}
    skill = JobSkill(name="deploy", digest=digest_of(files), packed=pack_files(files))
    made = launch(ask(skills=(skill,)), PLACE)
    settings = made.argv[made.argv.index("--settings") + 1].removeprefix("/node/homes/r/")
    assert json.loads(made.files[settings]) == {"disableSkillShellExecution": True}
    assert made.files["plugin/skills/deploy/SKILL.md"].endswith(b"\n! `id`\n")
    assert "--settings" not in launch(ask(), PLACE).argv


def test_an_agents_own_list_of_tools_narrows_what_its_level_gives() -> None:
    def given(**changes: object) -> str:
        argv = launch(ask(**changes), PLACE).argv
        return argv[argv.index("--tools") + 1]

    full = {"safety": Safety.FULL_AUTO}
    assert given(**full) == "Read,Grep,Glob,Edit,Write,Bash"
    assert given(**full, tools=("read", "grep", "find", "ls", "edit", "write")) == "Read,Grep,Glob,Edit,Write"
    assert given(**full, tools=("ls", "bash")) == "Glob,Bash"
    assert given(tools=("read", "bash")) == "Read", "no list gives what the level does not"
    assert given(tools=()) == ""
