"""The parser of `opencode` against transcripts of the real program, and the command lines that made them."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from node_agent.runtimes.base import (
    Activity,
    Denial,
    ExitInfo,
    Resume,
    RuntimeVerdict,
    SessionStarted,
    TextPiece,
    ToolCall,
    UsageGrew,
)
from node_agent.runtimes.opencode.command import launch
from node_agent.runtimes.opencode.parse import OpencodeParser
from node_agent.runtimes.starting import HEAD
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.receipt import Usage
from tests.contract.transcripts import Case, asked_for, cases, command, feed, line, output, verdict
from tests.unit.node_agent.runtimes.asked import ask, place

NAMES = cases("opencode")
DONE = "Done: the work is finished."
NO = (0, 0, 0)
EXPECTED = {
    "ok-text": Case(None, (1200, 500, 34), None, 1, "Hello from the model."),
    "ok-edit": Case(None, (3600, 1500, 102), None, 3, DONE, (A.FILE_READ, A.FILE_WRITE)),
    "ok-shell": Case(None, (2400, 1000, 68), None, 2, DONE, (A.SHELL,)),
    "tool-denied": Case(
        F.TOOL_DENIED, (3600, 1500, 102), None, 3, DONE, (A.FILE_WRITE, A.SHELL), ("write", "bash")
    ),
    "shell-denied": Case(F.TOOL_DENIED, (2400, 1000, 68), None, 2, DONE, (A.SHELL,), ("bash",)),
    "http-401": Case(F.MODEL_AUTH, NO, "0", 0),
    "http-429": Case(F.MODEL_BUSY, NO, "0", 0),
    "refusal": Case(F.AGENT_FAILED, (1200, 500, 34), None, 1, "I cannot help with that."),
    "bad-stream": Case(F.MODEL_FAILED, NO, None, 126),  # broken answers until it was killed
    "cut-stream": Case(F.NO_ANSWER, NO, None, 0),  # it continues asking, and was killed
    "sigterm-shell": Case(F.NO_ANSWER, NO, None, 0),
    # Before its first step it says nothing at all: neither while it asks again nor when it is killed.
    "http-500": Case(F.RUNTIME_UNREADABLE, NO, None, 0),
    "stalled": Case(F.RUNTIME_UNREADABLE, NO, None, 0),
    "sigint": Case(F.RUNTIME_UNREADABLE, NO, None, 0),
}


@pytest.mark.parametrize("name", NAMES)
def test_outcome_usage_and_session(name: str) -> None:
    told, lines = verdict("opencode", name), output("opencode", name).splitlines()
    EXPECTED[name].check(told)
    assert told.session == (json.loads(lines[0])["sessionID"] if lines else None)


def activities(data: bytes) -> list[Activity]:
    return OpencodeParser(ask(model="m")).feed(data)


def test_activities_come_as_they_happen() -> None:
    started, *more = activities(output("opencode", "ok-edit"))
    assert isinstance(started, SessionStarted) and started.model == "m"
    calls = [a for a in more if isinstance(a, ToolCall)]
    assert [(c.tool, c.detail) for c in calls] == [("read", "$WORK/notes.txt"), ("edit", "$WORK/notes.txt")]
    assert [a.text for a in more if isinstance(a, TextPiece)] == ["I edit the file.", DONE]
    assert [a.usage.output_tokens for a in more if isinstance(a, UsageGrew)] == [34, 68, 102]
    denied = [a for a in activities(output("opencode", "tool-denied")) if isinstance(a, Denial)]
    assert [d.action for d in denied] == [A.FILE_WRITE, A.SHELL]


def event(kind: str, **part: object) -> bytes:
    return line(type=kind, sessionID="s", part=part)


def used(tool: str, **state: object) -> bytes:
    return event("tool_use", tool=tool, state={"status": "completed", **state})


def failed(name: object = "APIError", **data: object) -> bytes:
    return line(type="error", sessionID="s", error={"name": name, "data": data})


def finish(reason: str = "stop", **more: object) -> bytes:
    tokens = {"input": 3, "output": 2, "reasoning": 1, "cache": {"read": 4, "write": 5}}
    return event("step_finish", **{"reason": reason, "tokens": tokens, "cost": 0, **more})


START = event("step_start")
SAID = event("text", text="ok")
RULE = "The user has specified a rule which prevents you from using this specific tool call."


@pytest.mark.parametrize(
    ("events", "status", "failure"),
    [
        (START + SAID + finish(), 0, None),
        (START + SAID, 0, F.NO_ANSWER),
        (START + finish(), 0, F.NO_ANSWER),
        (START + SAID + finish() + START, 0, F.NO_ANSWER),
        (START + SAID + finish("tool-calls"), 0, F.NO_ANSWER),  # as when it asks, and nobody is there
        (START + SAID + finish("length"), 0, F.AGENT_FAILED),
        (START + SAID + finish("unknown"), 0, F.MODEL_FAILED),
        (START + SAID + event("step_finish"), 0, F.NO_ANSWER),
        (START + SAID + finish(tokens=None), 0, F.RUNTIME_UNREADABLE),
        (
            START + SAID + finish() + failed("UnknownError", message="x"),
            0,
            F.MODEL_FAILED,
        ),  # the last counts
        (failed("UnknownError") + START + SAID + finish(), 0, None),
        (failed(statusCode=403), 1, F.MODEL_AUTH),
        (failed(statusCode=400, message="no such tool"), 1, F.MODEL_REFUSED),
        (failed(message="Unable to connect"), 1, F.MODEL_FAILED),
        (failed("ProviderAuthError"), 1, F.MODEL_AUTH),
        (failed("MessageOutputLengthError"), 1, F.AGENT_FAILED),
        (line(type="error", sessionID="s", error=7), 1, F.MODEL_FAILED),
        (START + used("bash", status="error", error=RULE) + SAID + finish(), 0, F.TOOL_DENIED),
        (START + used("bash", status="error", error=RULE) + used("read") + SAID + finish(), 0, None),
        (START + used("bash", status="error", error="exit 3") + SAID + finish(), 0, None),
    ],
)
def test_ends_that_no_transcript_shows(events: bytes, status: int, failure: F | None) -> None:
    assert judged(events, status).failure is failure


def judged(events: bytes, status: int = 0, resume: Resume | None = None) -> RuntimeVerdict:
    return feed("opencode", events, ExitInfo(status=status), resume=resume)


def test_usage_adds_up_and_a_price_is_believed_only_when_there_is_one() -> None:
    usage = judged(START + SAID + finish("tool-calls") + START + finish(cost=0.25)).usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.turns) == (16, 8, 6, 2)
    assert (usage.cost_usd, usage.cost_source) == (Decimal("0.25"), "reported")
    free = judged(START + SAID + finish()).usage
    assert (free.cost_usd, free.cost_source) == (None, "unknown")


def test_a_resumed_session_tells_what_this_run_used() -> None:
    resumed = judged(START + SAID + finish(), resume=Resume("s", Usage(input_tokens=99)))
    assert resumed.usage.input_tokens == 8


def test_a_refusal_after_work_is_not_free() -> None:
    busy = failed(statusCode=429)
    assert judged(busy, 1).usage.cost_usd == 0
    assert judged(START + finish("tool-calls") + busy, 1).usage.cost_usd is None


def test_a_flood_is_bounded_and_counted() -> None:
    parser = OpencodeParser(ask())
    call = used("bash", input={"command": "git push"}, status="error", error=RULE)
    for _ in range(200):
        parser.feed(call * 100)
    told = parser.finish(ExitInfo(status=0))
    assert told.tool_calls == {A.GIT_PUSH: 20_000}
    assert len(told.denials) == 100


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_is_the_one_that_was_recorded(name: str) -> None:
    recorded = command("opencode", name)
    given = {"OPENAI_API_KEY": "fake-key", "OPENAI_BASE_URL": "http://127.0.0.1:PORT/v1"}
    made = launch(asked_for(recorded, "fake-coder"), place(env=given))
    assert list(made.argv) == [*recorded["argv"], "--title", "pancode"]
    assert made.stdin == (HEAD + recorded["stdin"]).encode()
    content = made.env["OPENCODE_CONFIG_CONTENT"]
    for variable, value in given.items():  # it was recorded with the values themselves
        content = content.replace(f"{{env:{variable}}}", value)
    ours = {**made.env, "OPENCODE_CONFIG_CONTENT": json.loads(content)}
    content_then = json.loads(recorded["env"]["OPENCODE_CONFIG_CONTENT"])
    then = {**recorded["env"], "OPENCODE_CONFIG_CONTENT": content_then}
    assert {key: ours[key] for key in then} == then
