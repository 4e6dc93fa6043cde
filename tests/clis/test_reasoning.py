"""How hard a model is asked to think, as the request of each real program tells its model server.

About a minute in all: each program starts once or twice, one start takes 1 to 4 s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.job import Reasoning
from tests.clis.conftest import MakeBench
from tests.clis.launched import CLAUDE, CODEX, COPILOT, GEMINI, OPENAI_AGENTS, OPENCODE, Cli, first_request
from tests.fakemodel import preset

pytestmark = pytest.mark.slow

Read = Callable[[dict[str, Any]], Any]


def chat(body: dict[str, Any]) -> Any:
    return body.get("reasoning_effort")


def budget(body: dict[str, Any]) -> Any:
    return body["thinking"].get("budget_tokens", body["thinking"]["type"])


def effort(body: dict[str, Any]) -> Any:
    return body["output_config"]["effort"]


def codex(body: dict[str, Any]) -> Any:
    return body["reasoning"]["effort"]


def thinking(body: dict[str, Any]) -> Any:
    config = body["generationConfig"]["thinkingConfig"]
    return config.get("thinkingLevel") or config.get("thinkingBudget")


OPUS = replace(CLAUDE, model="claude-opus-5")
GEMINI_3 = replace(GEMINI, model="gemini-3-pro-preview")
GEMINI_NEW = replace(GEMINI, model="gemini-3.8-flash")
CASES = [
    (CLAUDE, Reasoning.LOW, budget, 4096),
    (CLAUDE, Reasoning.OFF, budget, "disabled"),
    (OPUS, Reasoning.XHIGH, effort, "xhigh"),
    (OPUS, Reasoning.LOW, effort, "low"),
    (OPUS, Reasoning.OFF, budget, "disabled"),
    (CODEX, Reasoning.OFF, codex, "none"),
    (CODEX, Reasoning.XHIGH, codex, "xhigh"),
    (COPILOT, Reasoning.MINIMAL, chat, "minimal"),
    (GEMINI, Reasoning.LOW, thinking, 2048),
    (GEMINI_3, Reasoning.LOW, thinking, "LOW"),
    (GEMINI_NEW, Reasoning.MINIMAL, thinking, "MINIMAL"),
    (OPENAI_AGENTS, Reasoning.XHIGH, chat, "xhigh"),
    (OPENCODE, Reasoning.LOW, chat, "low"),
]


@pytest.mark.parametrize(
    ("cli", "level", "read", "expected"), CASES, ids=[f"{c.model}-{level}" for c, level, _, _ in CASES]
)
def test_the_level_reaches_the_model(
    make_bench: MakeBench, tmp_path: Path, cli: Cli, level: Reasoning, read: Read, expected: Any
) -> None:
    b, _ = make_bench(cli, preset("text"))
    verdict = b.run(replace(b.request(), reasoning=level))
    assert verdict.failure is None, verdict.reason
    assert read(first_request(tmp_path)) == expected


@pytest.mark.parametrize("cli", [OPENAI_AGENTS, OPENCODE, COPILOT], ids=lambda cli: cli.runtime)
def test_without_a_level_none_is_asked_for(make_bench: MakeBench, tmp_path: Path, cli: Cli) -> None:
    b, _ = make_bench(cli, preset("text"))
    assert b.run(b.request()).failure is None
    assert chat(first_request(tmp_path)) is None
