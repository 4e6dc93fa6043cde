"""The parser of `native`. That the worker writes what this reads is shown in tests/clis/test_acts.py."""

from __future__ import annotations

import pytest

from node_agent.runtimes.base import (
    Denial,
    ExitInfo,
    Ran,
    Retrying,
    SessionStarted,
    TextPiece,
    ToolCall,
    UsageGrew,
)
from node_agent.runtimes.workerstream import WorkerParser
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from tests.contract.transcripts import feed, line
from tests.unit.node_agent.runtimes.asked import ask

START = line(type="session", session="s", model="m", version="1")
USED = line(type="usage", input=10, cached=3, output=4, turns=1, told=True)


def final(result: str = "Done.", status: str = "done", **more: object) -> bytes:
    return line(type="final", status=status, result=result, **more)


def called(tool: str = "edit", **about: object) -> bytes:
    return line(type="called", id="c", tool=tool, **about)


RAN, DENIED = line(type="ran", id="c", ok=True), line(type="denied", id="c", tool="edit", why="no")


@pytest.mark.parametrize(
    ("events", "status", "failure"),
    [
        (START + USED + final(), 0, None),
        (START + USED + final(), 1, F.AGENT_FAILED),
        (START + USED, 0, F.NO_ANSWER),
        (START + USED + final(" "), 0, F.NO_ANSWER),
        (START + final(), 0, F.RUNTIME_UNREADABLE),
        (START + final("", "failed", failure="model_auth", reason="401"), 1, F.MODEL_AUTH),
        (START + final("", "failed", failure="what?", reason="x"), 1, F.AGENT_FAILED),
        (START + final("", "failed"), 0, F.AGENT_FAILED),
        (START + USED + called() + DENIED + final(), 0, F.TOOL_DENIED),
        (START + USED + called() + DENIED + called() + RAN + final(), 0, None),
        (b"", 127, F.RUNTIME_MISSING),
        (b"Traceback\n", 1, F.RUNTIME_UNREADABLE),
    ],
)
def test_each_end(events: bytes, status: int, failure: F | None) -> None:
    told = feed("native", events, ExitInfo(status=status))
    assert told.failure is failure, told.reason


def test_a_server_that_took_nothing_costs_nothing() -> None:
    refused = final("", "failed", failure="model_auth", reason="401")
    assert feed("native", START + refused, ExitInfo(status=1)).usage.cost_usd == 0
    assert feed("native", START + USED + refused, ExitInfo(status=1)).usage.cost_usd is None


def test_each_event_is_an_activity() -> None:
    parser = WorkerParser(ask(model="m"))
    events = START + line(type="said", text="hi") + called("bash", command="git push") + DENIED
    events += (
        called("write", path="/w/a") + RAN + USED + line(type="retrying", status=429, why="busy", wait_s=1)
    )
    started, said, push, denied, write, ran, grew, again = parser.feed(events)
    assert started == SessionStarted("s", "m") and said == TextPiece("hi")
    assert isinstance(push, ToolCall) and (push.action, push.command) == (A.GIT_PUSH, "git push")
    assert denied == Denial("bash", A.GIT_PUSH, "no", "git push")
    assert isinstance(write, ToolCall) and (write.action, write.paths) == (A.FILE_WRITE, ("/w/a",))
    assert ran == Ran(write) and again == Retrying(429, "busy")
    assert isinstance(grew, UsageGrew) and (grew.usage.input_tokens, grew.usage.cached_tokens) == (10, 3)


def test_the_answer_ends_with_what_the_worker_knows_of_the_work() -> None:
    report = {"scope": "src, writing", "files": ["a.py", "b.py"], "commands": 2, "denied": 1}
    told = feed("native", START + USED + final("I did it.", report=report), ExitInfo(status=0))
    assert told.answer == (
        "I did it.\n\nScope: src, writing\n"
        "Files changed: a.py, b.py; 2 commands may have changed others\nDenied calls: 1"
    )
    only_said = {"scope": "src", "files": [], "commands": 0, "denied": 0}
    assert feed("native", START + USED + final("Hi.", report=only_said), ExitInfo(status=0)).answer == "Hi."


def test_a_flood_is_bounded_and_counted() -> None:
    parser = WorkerParser(ask())
    for _ in range(100):
        parser.feed((called("bash", command="git push") + line(type="denied", id="c", why="no")) * 100)
    told = parser.finish(ExitInfo(status=0))
    assert told.tool_calls == {A.GIT_PUSH: 10_000} and len(told.denials) == 100
