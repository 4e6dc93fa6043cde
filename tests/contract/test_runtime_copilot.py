"""The parser of `copilot` against transcripts of the real program, and the command lines that made them.

Behind each stream stands the report that the same run left in its file, as the command line puts it there.
"""

from __future__ import annotations

import json

import pytest

from node_agent.runtimes.base import (
    Denial,
    ExitInfo,
    Resume,
    Retrying,
    RuntimeVerdict,
    SessionStarted,
    TextPiece,
    ToolCall,
    UsageGrew,
)
from node_agent.runtimes.copilot.command import launch
from node_agent.runtimes.copilot.parse import CopilotParser
from node_agent.runtimes.starting import HEAD
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.receipt import Usage
from tests.contract.transcripts import Case, asked_for, cases, command, feed, line, output, verdict
from tests.unit.node_agent.runtimes.asked import ask, place

NAMES = cases("copilot")
DONE = "Done: the work is finished."
NO = (0, 0, 0)
EXPECTED = {
    "ok-text": Case(None, (1200, 500, 34), None, 1, "Hello from the model."),
    "ok-edit": Case(None, (3600, 1500, 102), None, 3, DONE, (A.FILE_READ, A.FILE_WRITE)),
    "ok-shell": Case(None, (2400, 1000, 68), None, 2, DONE, (A.SHELL,)),
    "tool-denied": Case(
        F.TOOL_DENIED, (3600, 1500, 102), None, 3, DONE, (A.FILE_WRITE, A.SHELL), ("create", "bash")
    ),
    "shell-denied": Case(F.TOOL_DENIED, (2400, 1000, 68), None, 2, DONE, (A.SHELL,), ("bash",)),
    "http-401": Case(F.MODEL_AUTH, NO, "0", 0),
    "http-429": Case(F.MODEL_BUSY, NO, "0", 0),
    "http-500": Case(F.MODEL_FAILED, NO, None, 0),
    "bad-stream": Case(F.MODEL_FAILED, NO, None, 0),
    "cut-stream": Case(F.MODEL_FAILED, NO, None, 0),
    # It does not tell that the model refused.
    "refusal": Case(None, (1200, 500, 34), None, 1, "I cannot help with that."),
    "sigterm-shell": Case(F.NO_ANSWER, NO, None, 1, calls=(A.UNKNOWN,)),
    "stalled": Case(F.NO_ANSWER, NO, None, 0),
    "sigint": Case(F.NO_ANSWER, NO, None, 0),
}


def results(name: str) -> list[dict]:
    every = [json.loads(each) for each in output("copilot", name).splitlines() if each]
    return [event for event in every if event.get("type") == "result"]


@pytest.mark.parametrize("name", NAMES)
def test_outcome_usage_and_session(name: str) -> None:
    told = verdict("copilot", name)
    EXPECTED[name].check(told)
    assert told.session == (results(name)[0]["sessionId"] if results(name) else None)
    assert told.model == "fake-coder"


def test_activities_come_as_they_happen() -> None:
    started, *more = CopilotParser(ask()).feed(output("copilot", "ok-edit"))
    assert isinstance(started, SessionStarted) and started.model == "fake-coder"
    calls = [a for a in more if isinstance(a, ToolCall)]
    assert [(c.tool, c.detail) for c in calls] == [("view", "$WORK/notes.txt"), ("edit", "$WORK/notes.txt")]
    assert [a.text for a in more if isinstance(a, TextPiece)] == ["I edit the file.", DONE]
    grew = [a.usage for a in more if isinstance(a, UsageGrew)]
    assert [(u.turns, u.output_tokens) for u in grew] == [(1, 0), (2, 0), (3, 0), (3, 102)]
    denied = [a for a in CopilotParser(ask()).feed(output("copilot", "tool-denied")) if isinstance(a, Denial)]
    assert [(d.tool, d.action) for d in denied] == [("create", A.FILE_WRITE), ("bash", A.SHELL)]
    retries = [a for a in CopilotParser(ask()).feed(output("copilot", "http-429")) if isinstance(a, Retrying)]
    assert [a.status for a in retries] == [429] * 6


def event(kind: str, **data: object) -> bytes:
    return line(type=kind, data=data)


def report(asked: int = 10, cached: int = 3, said: int = 4, models: int = 1) -> bytes:
    one = {"usage": {"inputTokens": asked, "cacheReadTokens": cached, "outputTokens": said}}
    return line(modelMetrics={f"m{n}": one for n in range(models)})


def result(code: object = 0) -> bytes:
    return line(type="result", sessionId="s", exitCode=code)


def over(**data: object) -> bytes:
    return event("tool.execution_complete", toolCallId="t", **data)


def refused(code: str, message: str = "no") -> bytes:
    return over(success=False, error={"code": code, "message": message})


def failed(**data: object) -> bytes:
    return event("session.error", message="it failed", **data)


START = event("session.tools_updated", model="m")
SAID = event("assistant.message", content="ok", model="m")
SILENT = event("assistant.message", content="", model="m")
USED = event("tool.execution_start", toolCallId="t", toolName="edit", arguments={"path": "a"})
END = result() + report()


@pytest.mark.parametrize(
    ("events", "status", "failure"),
    [
        (START + SAID + END, 0, None),
        (START + SAID, 0, F.NO_ANSWER),
        (START + SAID + report(), 0, F.NO_ANSWER),
        (START + END, 0, F.NO_ANSWER),
        (START + SAID + result(), 0, F.RUNTIME_UNREADABLE),  # it left no report
        (START + SAID + USED + over(success=True) + SILENT + END, 0, F.NO_ANSWER),
        (START + SAID + END + SAID, 0, F.NO_ANSWER),
        (START + SAID + result(2) + report(), 0, F.AGENT_FAILED),
        (START + SAID + result(None) + report(), 0, F.AGENT_FAILED),
        (START + failed(statusCode=403) + result(1), 1, F.MODEL_AUTH),
        (START + failed(statusCode=400) + result(1), 1, F.MODEL_REFUSED),
        (START + failed(errorType="authentication") + result(1), 1, F.MODEL_AUTH),
        (START + failed(errorType="rate_limit") + result(1), 1, F.MODEL_BUSY),
        (START + failed(errorType="query") + result(1), 1, F.MODEL_FAILED),
        (START + SAID + failed(errorType="query") + END, 0, F.MODEL_FAILED),  # whatever it exits with
        (START + failed(errorType="query") + SAID + END, 0, None),  # it continued
        (START + USED + refused("denied") + SAID + END, 0, F.TOOL_DENIED),
        (START + USED + refused("failure", "Tool 'bash' does not exist.") + SAID + END, 0, F.TOOL_DENIED),
        (START + USED + refused("failure", "Parent directory does not exist") + SAID + END, 0, None),
        (START + USED + refused("denied") + USED + over(success=True) + SAID + END, 0, None),
        (START + SAID + result() + line(modelMetrics=7), 0, None),
    ],
)
def test_ends_that_no_transcript_shows(events: bytes, status: int, failure: F | None) -> None:
    told = judged(events, status)
    assert told.failure is failure, told.reason


@pytest.mark.parametrize(
    ("complaints", "status", "failure"),
    [
        (b"Error: No authentication information found.\n", 1, F.MODEL_AUTH),
        (b"Error: Authentication token found", 1, F.MODEL_AUTH),
        (b"Error: no room", 1, F.RUNTIME_UNREADABLE),
        (b"Authentication", 2, F.RUNTIME_UNREADABLE),
    ],
)
def test_who_is_not_let_in_is_told_to_users_alone(complaints: bytes, status: int, failure: F) -> None:
    assert feed("copilot", b"", ExitInfo(status, complaints=complaints)).failure is failure
    assert feed("copilot", START + SAID + END, ExitInfo(0, complaints=complaints)).failure is None


def judged(events: bytes, status: int = 0, resume: Resume | None = None) -> RuntimeVerdict:
    return feed("copilot", events, ExitInfo(status=status), resume=resume)


def test_usage_is_of_all_models_and_the_cache_is_not_input() -> None:
    usage = judged(START + SAID + result() + report(models=2)).usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.turns) == (14, 6, 8, 1)
    assert (usage.cost_usd, usage.cost_source) == (None, "unknown")


def test_a_resumed_session_tells_the_whole_and_the_first_part_is_taken_off() -> None:
    before = Usage(input_tokens=5, cached_tokens=2, output_tokens=1)
    usage = judged(START + SAID + END, resume=Resume("s", before)).usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (2, 1, 3)
    more = judged(START + SAID + END, resume=Resume("s", Usage(input_tokens=99))).usage
    assert more.input_tokens == 0


def test_a_refusal_after_work_is_not_free() -> None:
    busy = failed(statusCode=429) + result(1) + report()
    assert judged(START + busy, 1).usage.cost_usd == 0
    assert judged(START + SAID + busy, 1).usage.cost_usd is None


def test_a_flood_is_bounded_and_counted() -> None:
    parser = CopilotParser(ask())
    call = event("tool.execution_start", toolName="bash", arguments={"command": "git push"})
    for _ in range(200):
        parser.feed((call + SAID + refused("denied")) * 100)
    told = parser.finish(ExitInfo(status=0))
    assert told.tool_calls == {A.GIT_PUSH: 20_000}
    assert (len(told.denials), told.usage.turns) == (100, 20_000)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_is_the_one_that_was_recorded(name: str) -> None:
    recorded = command("copilot", name)
    given = {
        "COPILOT_PROVIDER_API_KEY": "fake-key",
        "COPILOT_PROVIDER_BASE_URL": "http://127.0.0.1:PORT/v1",
    }
    made = launch(asked_for(recorded, "fake-coder"), place(env=given))
    assert made.argv[:2] == ("sh", "-c") and made.argv[3:5] == ("sh", "$HOME/usage.json")
    ours = [word for word in made.argv[5:] if not word.startswith(("--deny-tool=write(.git", "--available"))]
    then = [word for word in recorded["argv"] if not word.startswith("--available")]
    assert sorted(ours) == sorted(then)
    offered = [word for word in recorded["argv"] if word.startswith("--available")]
    assert set(offered) <= set(made.argv)
    assert made.stdin == (HEAD + recorded["stdin"]).encode()
    assert {key: made.env[key] for key in recorded["env"]} == recorded["env"]
