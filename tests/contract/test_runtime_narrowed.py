"""Every program that says so holds an agent's own list of tools and its limit of turns, by its own means."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from node_agent.runtimes.base import EndedBy, ExitInfo, ProcessSpec
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.failure import FailureKind
from node_agent.wire.job import Limits
from node_agent.wire.policy import Safety
from tests.unit.node_agent.runtimes.asked import LIMITS, PLACE, REQUEST

NARROWING = sorted(name for name, runtime in RUNTIMES.items() if runtime.capabilities.narrows)
WITHOUT_SHELL = ("read", "grep", "find", "ls", "edit", "write")
FULL = replace(REQUEST, safety=Safety.FULL_AUTO, model="m")
TURNS: dict[str, str] = {"claude": "--max-turns 7"}
"""By its command line; Gemini is told in its settings."""


def whole(made: ProcessSpec) -> str:
    """All that a launch tells its program."""
    files = {name: text.decode() for name, text in made.files.items()}
    return json.dumps([" ".join(made.argv), dict(made.env), files], sort_keys=True)


@pytest.mark.parametrize("name", NARROWING)
def test_a_tool_that_is_not_the_agents_is_taken_away(name: str) -> None:
    launch = RUNTIMES[name].launch
    assert whole(launch(replace(FULL, tools=WITHOUT_SHELL), PLACE)) != whole(launch(FULL, PLACE))
    assert whole(launch(replace(FULL, tools=("read",)), PLACE)) != whole(
        launch(replace(FULL, tools=WITHOUT_SHELL), PLACE)
    )


@pytest.mark.parametrize("name", NARROWING)
def test_the_shell_is_where_each_program_keeps_it(name: str) -> None:
    made = RUNTIMES[name].launch(replace(FULL, tools=WITHOUT_SHELL), PLACE)
    line, told = " ".join(made.argv), made.files.get("native.json", b"").decode()
    tokens = {
        "claude": "--tools Read,Grep,Glob,Edit,Write " in line,
        "copilot": "apply_patch,update_todo" in line,
        "gemini": 'toolName = "run_shell_command"' in made.files.get("policy.toml", b"").decode(),
        "opencode": '"bash"' not in made.env.get("OPENCODE_CONFIG_CONTENT", ""),
        **dict.fromkeys(
            ("native", "claude-sdk", "openai-agents"),
            '"tools":["read","write","edit","grep","find","ls","changes"]' in told,
        ),
    }
    assert tokens[name]


def test_no_list_gives_what_the_level_does_not() -> None:
    for name in NARROWING:
        launch = RUNTIMES[name].launch
        held = replace(FULL, safety=Safety.AUTO_EDIT, read_only=True)
        everything = replace(held, tools=(*WITHOUT_SHELL, "bash"))
        assert whole(launch(everything, PLACE)) == whole(launch(held, PLACE))


@pytest.mark.parametrize("name", ["claude", "gemini"])
def test_a_limit_of_turns_is_told_to_who_has_one(name: str) -> None:
    assert RUNTIMES[name].capabilities.turn_limit
    limits = Limits(**{**LIMITS.model_dump(), "turns": 7})
    told = whole(RUNTIMES[name].launch(replace(FULL, limits=limits), PLACE))
    free = whole(RUNTIMES[name].launch(FULL, PLACE))
    sign = TURNS.get(name, "maxSessionTurns")
    assert sign in told and sign not in free


@pytest.mark.parametrize(
    ("name", "output", "status"),
    [
        ("claude", b'{"type":"result","subtype":"error_max_turns","is_error":true,"num_turns":7}\n', 1),
        ("gemini", b'{"type":"init","session_id":"s","model":"m"}\n', 53),
    ],
)
def test_a_program_that_ended_at_its_turns_says_so(name: str, output: bytes, status: int) -> None:
    parser = RUNTIMES[name].parser(FULL)
    parser.feed(output)
    assert parser.finish(ExitInfo(status, None, EndedBy.NONE)).failure is FailureKind.TURN_LIMIT


def test_who_narrows_or_tells_turns_is_no_program_of_ones_own() -> None:
    for runtime in RUNTIMES.values():
        if runtime.capabilities.own:
            assert not runtime.capabilities.narrows and not runtime.capabilities.tells_turns
