"""What only Claude's SDK does, driven by us: none of the tools of its program, nothing of the repository.

About a minute in all: each test starts the SDK, and that the program of 377 MB which it brings.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind as F
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS, call
from tests.clis.launched import CLAUDE_SDK, LIMITS, first_request, names
from tests.clis.test_below import hostile
from tests.fakemodel import preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}


@pytest.fixture
def bench(make_bench: MakeBench) -> Any:
    return partial(make_bench, CLAUDE_SDK)


@pytest.mark.parametrize(
    "turn",
    [
        call("Write", file_path="${cwd}/x", content="x"),
        call("Bash", command="touch x", description="p"),
        call("Task", description="p", prompt="touch x", subagent_type="general-purpose"),
        HANDS["claude-sdk"].write("${cwd}/x", "x"),
    ],
    ids=["Write", "Bash", "Task", "ours"],
)
def test_it_has_the_tools_of_its_job_and_none_of_its_program(bench: Any, tmp_path: Path, turn: Any) -> None:
    b, _ = bench({"turns": [turn, DONE]})
    verdict = b.run(replace(b.request(safety=Safety.FULL_AUTO), tools=("read", "ls")))
    assert verdict.failure is F.TOOL_DENIED and names(b.work) == [".git", "notes.txt"], verdict.reason
    offered = [tool["name"] for tool in first_request(tmp_path)["tools"]]
    assert sorted(offered) == ["mcp__pancode__changes", "mcp__pancode__ls", "mcp__pancode__read"]


def test_the_repository_tells_it_nothing(bench: Any, tmp_path: Path) -> None:
    b, _ = bench({"turns": [HANDS["claude-sdk"].shell("echo ${THEIRS:-none} > told"), DONE]})
    hostile(b.work, tmp_path / "THEIRS")
    for name in ("sitecustomize.py", "claude_agent_sdk.py", "mcp.py", "json.py"):
        (b.work / name).write_text("raise SystemExit('WORDS-OF-THE-REPOSITORY')\n")
    assert b.run(b.request(safety=Safety.FULL_AUTO)).failure is None
    assert (b.work / "told").read_text() == "none\n" and not (tmp_path / "THEIRS").exists()
    assert "WORDS-OF-THE-REPOSITORY" not in json.dumps(first_request(tmp_path))


def test_neither_prompt_nor_task_is_on_a_command_line(bench: Any) -> None:
    look = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; done 2>/dev/null > told"
    b, _ = bench({"turns": [HANDS["claude-sdk"].shell(look), DONE]})
    assert b.run(b.request(task="WORDS-OF-A-TASK", safety=Safety.FULL_AUTO)).failure is None
    told = (b.work / "told").read_text()
    assert "claude_sdk.py" in told and "stream-json" in told, "it did look"
    assert "PROMPT-OF-THE-AGENT" not in told and "WORDS-OF-A-TASK" not in told


def test_more_output_than_its_limit_ends_it(bench: Any) -> None:
    b, model = bench(preset("loop"))
    verdict = b.run(replace(b.request(), limits=LIMITS.model_copy(update={"output_bytes": 1_000})))
    assert verdict.failure is F.OUTPUT_LIMIT, verdict.reason
    assert len([one for one in model.requests if "wire" in one]) < 20, "its program is gone"


def test_turns_and_thinking_are_told_to_its_program(bench: Any, tmp_path: Path) -> None:
    b, _ = bench(preset("loop"))
    limits = LIMITS.model_copy(update={"turns": 2})
    verdict = b.run(replace(b.request(), limits=limits, reasoning=Reasoning.LOW))
    assert verdict.failure is F.TURN_LIMIT, verdict.reason
    assert first_request(tmp_path)["thinking"]["budget_tokens"] == 4096
