"""What only the SDK of OpenAI does, driven by us: its tools are ours, its wire is the server's, no key leaks.

About a minute in all: each test starts the real SDK, and a start takes 3 s of CPU.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node_agent.runtimes.base import LaunchRequest, Place, ProcessSpec
from node_agent.runtimes.openai_agents.runtime import RUNTIME, launch
from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.workerspec import FILE
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS
from tests.clis.launched import OPENAI_AGENTS, first_request, names
from tests.fakemodel import preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
KEY = "k-of-the-owner"


@pytest.fixture
def bench(make_bench: MakeBench) -> Any:
    return partial(make_bench, OPENAI_AGENTS)


def test_a_command_finds_the_key_in_no_process_of_the_run(bench: Any, tmp_path: Path) -> None:
    each = "for p in $PPID $(pgrep -P $PPID); do tr '\\0' '\\n' < /proc/$p/environ; done"
    look = HANDS["openai-agents"].shell(f"env; {each}; echo looked")
    b, model = bench({"turns": [look, DONE]})
    verdict = b.run(b.request(safety=Safety.FULL_AUTO))
    assert verdict.failure is None, verdict.reason
    heard = "".join(path.read_text() for path in (tmp_path / "d").iterdir())
    assert "looked" in heard and "TMPDIR=" in heard, "it did look"
    assert KEY not in heard
    assert {r["auth"] for r in model.requests if "wire" in r} == {"authorization"}, "and the key was used"


def test_it_has_the_tools_of_its_job_and_no_others(bench: Any, tmp_path: Path) -> None:
    b, _ = bench({"turns": [HANDS["openai-agents"].write("${cwd}/x", "x"), DONE]})
    verdict = b.run(replace(b.request(), tools=("read", "ls")))
    assert verdict.failure is F.TOOL_DENIED and names(b.work) == [".git", "notes.txt"]
    assert [tool["function"]["name"] for tool in first_request(tmp_path)["tools"]] == [
        "read",
        "ls",
        "changes",
    ]


def test_the_repository_tells_it_nothing(bench: Any, tmp_path: Path) -> None:
    b, _ = bench({"turns": [HANDS["openai-agents"].shell("echo ${THEIRS:-none} > told"), DONE]})
    for name in ("AGENTS.md", "sitecustomize.py", ".env", "agents.py", "openai.py", "pydantic.py", "json.py"):
        (b.work / name).write_text("raise SystemExit('WORDS-OF-THE-REPOSITORY')\nTHEIRS=1\n")
    assert b.run(b.request(safety=Safety.FULL_AUTO)).failure is None
    assert (b.work / "told").read_text() == "none\n"
    assert "WORDS-OF-THE-REPOSITORY" not in json.dumps(first_request(tmp_path))


def test_the_calls_of_an_answer_that_was_cut_off_are_not_done(bench: Any) -> None:
    cut = {**HANDS["openai-agents"].write("${cwd}/x", "x"), "finish": "length"}
    b, _ = bench({"turns": [cut, DONE]})
    verdict = b.run(b.request())
    assert verdict.failure is F.AGENT_FAILED and "cut off" in verdict.reason
    assert names(b.work) == [".git", "notes.txt"]


def _by_responses(request: LaunchRequest, place: Place) -> ProcessSpec:
    """As to OpenAI's own servers, which no test asks."""
    made = launch(request, place)
    spec = {**json.loads(made.files[FILE]), "newest": True}
    return replace(made, files={**made.files, FILE: json.dumps(spec).encode()})


@pytest.fixture
def by_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "openai-agents", replace(RUNTIME, launch=_by_responses))


@pytest.mark.usefixtures("by_responses")
def test_on_the_responses_wire_it_works_and_nothing_is_stored(bench: Any, tmp_path: Path) -> None:
    b, model = bench(preset("edit"))
    verdict = b.run(replace(b.request(), reasoning=Reasoning.HIGH))
    assert verdict.failure is None, verdict.reason
    assert (b.work / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    usage = verdict.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (3600, 1500, 102)
    asked = first_request(tmp_path)
    assert {r["wire"] for r in model.requests if "wire" in r} == {"responses"}
    assert asked["store"] is False and asked["reasoning"]["effort"] == "high"


@pytest.mark.usefixtures("by_responses")
@pytest.mark.parametrize(("name", "failure"), [("401", F.MODEL_AUTH), ("cut", F.MODEL_FAILED)])
def test_on_the_responses_wire_failures_are_told_apart(bench: Any, name: str, failure: F) -> None:
    b, _ = bench(preset(name))
    verdict = b.run(b.request(safety=Safety.SUGGEST))
    assert verdict.failure is failure, verdict.reason
