"""The whole worker against llama.cpp's own server on a tiny model: its grammar, its stream, its room.

About half a minute in all: a worker is started for each test, and two wait for a limit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.runtimes.base import RuntimeVerdict
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.clis.launched import LIMITS, Bench, Cli
from tests.tinyllama import Tiny, tiny_server
from tests.tinyllama.model import BABBLE, tool_call

pytestmark = pytest.mark.slow

ROOM = 8_192
SCENARIOS = {
    "hello": ["Hello from the tiny model."],
    "agent": [
        tool_call("write", path="hello.txt", content="hello\n"),
        tool_call("edit", path="hello.txt", old="hello", new="good day"),
        "Done: hello.txt holds one line.",
    ],
    "parallel": [tool_call("read", path="notes.txt") + "\n" + tool_call("ls"), "Looked at both."],
    "loop": [tool_call("read", path="notes.txt")],
    "any-tool": ["<tool_call>\n" + BABBLE, "Done."],
    "empty": [""],
    "outside": [tool_call("read", path="../outside/diary"), tool_call("bash", command="cat x"), "So not."],
    "big": [tool_call("read", path="big.txt"), "I have read it."],
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    file = tmp_path_factory.mktemp("tiny") / "scenarios.json"
    file.write_text(json.dumps(SCENARIOS))
    with tiny_server(slots=1, ctx=ROOM, scenarios=file) as one:
        yield one


Run = Callable[..., tuple[Bench, RuntimeVerdict, list[dict[str, Any]]]]


@pytest.fixture
def run(tiny: Tiny, tmp_path: Path) -> Run:
    """The worker at a task; what it left, how it ended, and its events."""

    def made(
        task: str, context: int = ROOM, **limits: Any
    ) -> tuple[Bench, RuntimeVerdict, list[dict[str, Any]]]:
        def env(url: str) -> dict[str, str]:
            return {"OPENAI_BASE_URL": f"{url}/v1", "PANCODE_MODEL_CONTEXT": str(context)}

        b = Bench(Cli("native", "tiny-random", env), tmp_path / "b", os.defpath, tiny.url)
        (b.work / "big.txt").write_text("word " * 1_500)
        (b.outside / "diary").write_text("words-of-a-diary")
        request = b.request(task=f"the task [[{task}]]", safety=Safety.AUTO_EDIT)
        object.__setattr__(request, "limits", LIMITS.model_copy(update=limits))
        verdict = b.run(request)
        return b, verdict, [json.loads(line) for line in (b.home / "out").read_text().splitlines()]

    return made


def results(events: list[dict[str, Any]]) -> list[bool]:
    return [event["ok"] for event in events if event["type"] == "ran"]


def test_a_loop_of_tools_goes_through_the_real_parser(run: Run) -> None:
    b, verdict, _ = run("agent")
    assert verdict.failure is None, verdict.reason
    assert (b.work / "hello.txt").read_text() == "good day\n"
    assert verdict.tool_calls == {A.FILE_WRITE: 2} and verdict.usage.turns == 3
    assert verdict.usage.input_tokens > 1_000 and verdict.usage.cached_tokens > 0
    assert verdict.answer.startswith("Done: hello.txt") and "Files changed: hello.txt" in verdict.answer


def test_two_calls_in_one_answer_are_both_done(run: Run) -> None:
    _, verdict, events = run("parallel")
    assert verdict.failure is None, verdict.reason
    assert results(events) == [True, True] and verdict.usage.turns == 2


def test_one_that_calls_for_ever_ends_at_the_limit(run: Run) -> None:
    _, verdict, events = run("loop", requests=4)
    assert verdict.failure is F.REQUEST_LIMIT and "the limit is 4" in verdict.reason
    assert results(events) == [True] * 4


def test_any_call_that_the_grammar_lets_through_ends_nothing(run: Run) -> None:
    """Whatever it is, and it may continue until it is cut off: the run comes to an end that it tells."""
    _, verdict, events = run("any-tool", wall_ms=10_000)
    assert events[-1]["type"] == "final"
    assert verdict.failure in (None, F.TOOL_DENIED, F.AGENT_FAILED, F.WALL_LIMIT), verdict.reason


def test_an_empty_answer_is_no_answer(run: Run) -> None:
    assert run("empty")[1].failure is F.NO_ANSWER


def test_what_is_denied_is_denied_here_too(run: Run) -> None:
    _, verdict, events = run("outside")
    assert verdict.failure is F.TOOL_DENIED and [d.tool for d in verdict.denials] == ["read", "bash"]
    assert "words-of-a-diary" not in json.dumps(events)


def test_a_server_with_less_room_than_it_was_said_is_found_out(run: Run) -> None:
    """Its own refusal tells how much there is; the run continues with that."""
    _, verdict, events = run("big", context=60_000)
    kinds = [event["type"] for event in events]
    assert "noted" in kinds and "compacted" in kinds, kinds
    assert f"{ROOM} tokens" in json.dumps(events)
    assert verdict.failure is None, verdict.reason


def test_a_task_that_cannot_fit_is_never_sent(run: Run) -> None:
    _, verdict, events = run("hello " + "x" * 6_000, context=2_000)
    assert verdict.failure is F.CANNOT_START and "--ctx-size" in verdict.reason
    assert verdict.usage.turns == 0 and [event["type"] for event in events] == ["session", "final"]


def test_one_that_is_wedged_is_left_at_the_end_of_its_time(run: Run, tiny: Tiny) -> None:
    tiny.wedge()
    try:
        _, verdict, events = run("hello", wall_ms=6_000)
    finally:
        tiny.unwedge()
    assert verdict.failure is F.WALL_LIMIT and events[-1]["type"] == "final", "by its own clock, before ours"
