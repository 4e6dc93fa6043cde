"""The parser of `gemini` against transcripts of the real program, and the command lines that made them."""

from __future__ import annotations

import json

import pytest

from node_agent.runtimes.base import (
    Denial,
    ExitInfo,
    Resume,
    RuntimeVerdict,
    SessionStarted,
    TextPiece,
    ToolCall,
    UsageGrew,
)
from node_agent.runtimes.gemini.command import launch
from node_agent.runtimes.gemini.parse import GeminiParser
from node_agent.runtimes.starting import HEAD
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.receipt import Usage
from tests.contract.transcripts import Case, asked_for, cases, command, feed, line, output, verdict
from tests.unit.node_agent.runtimes.asked import ask, place

NAMES = cases("gemini")
DONE = "Done: the work is finished."
NO = (0, 0, 0)
EXPECTED = {
    "ok-text": Case(None, (1200, 500, 34), None, 1, "Hello from the model."),
    "ok-edit": Case(None, (3600, 1500, 102), None, 3, DONE, (A.FILE_READ, A.FILE_WRITE)),
    "ok-shell": Case(None, (2400, 1000, 68), None, 2, DONE, (A.SHELL,)),
    "tool-denied": Case(
        F.TOOL_DENIED,
        (3600, 1500, 102),
        None,
        3,
        DONE,
        (A.FILE_WRITE, A.SHELL),
        ("write_file", "run_shell_command"),
    ),
    "shell-denied": Case(F.TOOL_DENIED, (2400, 1000, 68), None, 2, DONE, (A.SHELL,), ("run_shell_command",)),
    "http-401": Case(F.MODEL_AUTH, NO, "0", 0),
    "http-429": Case(F.MODEL_BUSY, NO, "0", 0),
    "http-500": Case(F.MODEL_FAILED, NO, None, 0),
    "bad-stream": Case(F.MODEL_FAILED, NO, None, 0),
    "cut-stream": Case(F.MODEL_FAILED, NO, None, 1, "half of an a"),
    # It does not tell that the model refused, where the model said so in words.
    "refusal": Case(None, (1200, 500, 34), None, 1, "I cannot help with that."),
    "sigterm-shell": Case(F.NO_ANSWER, NO, None, 1, calls=(A.UNKNOWN,)),
    "stalled": Case(F.NO_ANSWER, NO, None, 0),  # exit status 0, but no result
    "sigint": Case(F.NO_ANSWER, NO, None, 0),
}


@pytest.mark.parametrize("name", NAMES)
def test_outcome_usage_and_session(name: str) -> None:
    told = verdict("gemini", name)
    EXPECTED[name].check(told)
    assert told.session == json.loads(output("gemini", name).splitlines()[0])["session_id"]
    assert told.model == "gemini-2.5-pro"


def test_activities_come_as_they_happen() -> None:
    started, *more = GeminiParser(ask()).feed(output("gemini", "ok-edit"))
    assert isinstance(started, SessionStarted) and started.model == "gemini-2.5-pro"
    calls = [a for a in more if isinstance(a, ToolCall)]
    assert [(c.tool, c.detail) for c in calls] == [
        ("read_file", "$WORK/notes.txt"),
        ("replace", "$WORK/notes.txt"),
    ]
    assert "".join(a.text for a in more if isinstance(a, TextPiece)) == f"I edit the file.{DONE}"
    assert [a.usage.output_tokens for a in more if isinstance(a, UsageGrew)] == [102]
    denied = [a for a in GeminiParser(ask()).feed(output("gemini", "tool-denied")) if isinstance(a, Denial)]
    assert [(d.tool, d.action) for d in denied] == [
        ("write_file", A.FILE_WRITE),
        ("run_shell_command", A.SHELL),
    ]


STATS = {"total_tokens": 20, "input_tokens": 10, "output_tokens": 4, "cached": 3, "input": 7}
START = line(type="init", session_id="s", model="m")
SAID = line(type="message", role="assistant", content="ok", delta=True)
USED = line(type="tool_use", tool_name="replace", tool_id="t", parameters={"file_path": "a"})
OVER = line(type="tool_result", tool_id="t", status="success")
END = line(type="result", status="success", stats=STATS)


def refused(kind: str) -> bytes:
    return line(type="tool_result", tool_id="t", status="error", error={"type": kind, "message": "no"})


def failed(words: object) -> bytes:
    return line(type="result", status="error", error={"type": "unknown", "message": words}, stats=STATS)


def trouble(words: str) -> bytes:
    return line(type="error", severity="warning", message=words)


@pytest.mark.parametrize(
    ("events", "status", "failure"),
    [
        (START + SAID + END, 0, None),
        (START + SAID, 0, F.NO_ANSWER),
        (START + END, 0, F.NO_ANSWER),
        (START + SAID + USED + OVER + END, 0, F.NO_ANSWER),  # what it said before its last call is no answer
        (START + SAID + END + SAID, 0, F.NO_ANSWER),
        (START + trouble("Loop detected, stopping execution") + END, 0, F.AGENT_FAILED),
        (START + SAID + trouble("Loop detected, stopping execution") + END, 0, F.AGENT_FAILED),
        (START + trouble("x") + USED + OVER + SAID + END, 0, None),
        (START + SAID + line(type="result", status="success"), 0, F.RUNTIME_UNREADABLE),
        (START + SAID + line(type="result", status="success", stats={}), 0, F.RUNTIME_UNREADABLE),
        (START + SAID + line(type="result", stats=STATS), 0, F.AGENT_FAILED),
        (START + USED + refused("policy_violation") + SAID + END, 0, F.TOOL_DENIED),
        (START + USED + refused("path_not_in_workspace") + SAID + END, 0, F.TOOL_DENIED),
        (START + USED + refused("file_not_found") + SAID + END, 0, None),
        (START + USED + refused("policy_violation") + USED + OVER + SAID + END, 0, None),
        (START + failed('[API Error: {"error":{"code":403,"message":"x"}}]'), 147, F.MODEL_AUTH),
        (START + failed("[API Error: rate limit exceeded]"), 173, F.MODEL_BUSY),
        (START + failed("[API Error: overloaded]"), 247, F.MODEL_BUSY),
        (START + failed("[API Error: no such model]"), 148, F.MODEL_FAILED),
        (START + failed("[API Error: the prompt is too long]"), 144, F.MODEL_REFUSED),
        (START + failed("[API Error: fetch failed]"), 1, F.MODEL_FAILED),
        (START + failed("Reached max session turns"), 53, F.TURN_LIMIT),
        (START + failed(7), 1, F.AGENT_FAILED),
        (b"", 41, F.MODEL_AUTH),
        (b"", 42, F.RUNTIME_UNREADABLE),
    ],
)
def test_ends_that_no_transcript_shows(events: bytes, status: int, failure: F | None) -> None:
    told = judged(events, status)
    assert told.failure is failure, told.reason


@pytest.mark.parametrize(
    ("complaints", "status", "failure"),
    [
        (b"GaxiosError: no\n  status: 401,\n", 1, F.MODEL_AUTH),
        (b"  status: 403,", 1, F.MODEL_AUTH),
        (b"  status: 500,", 1, F.RUNTIME_UNREADABLE),
        (b"its status: 401,", 1, F.RUNTIME_UNREADABLE),
        (b"  status: 401,", 0, F.RUNTIME_UNREADABLE),
        (b"", 1, F.RUNTIME_UNREADABLE),
    ],
)
def test_an_account_that_is_not_let_in_is_told_to_users_alone(
    complaints: bytes, status: int, failure: F
) -> None:
    assert feed("gemini", b"", ExitInfo(status, complaints=complaints)).failure is failure
    assert feed("gemini", START + SAID + END, ExitInfo(0, complaints=complaints)).failure is None


def judged(events: bytes, status: int = 0, resume: Resume | None = None) -> RuntimeVerdict:
    return feed("gemini", events, ExitInfo(status=status), resume=resume)


def test_a_status_is_not_read_out_of_a_signal() -> None:
    told = feed("gemini", START + failed("gone"), ExitInfo(signal=15))
    assert told.failure is F.AGENT_FAILED


def test_thoughts_are_output_and_the_cache_is_not_input() -> None:
    usage = judged(START + SAID + END).usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (7, 3, 10)
    assert (usage.cost_usd, usage.cost_source) == (None, "unknown")


def test_a_resumed_session_tells_what_this_run_used() -> None:
    resumed = judged(START + SAID + END, resume=Resume("s", Usage(input_tokens=99)))
    assert resumed.usage.input_tokens == 7


def test_a_refusal_after_work_is_not_free() -> None:
    busy = failed("[API Error: rate limit]")
    assert judged(START + busy, 173).usage.cost_usd == 0
    assert judged(START + USED + OVER + busy, 173).usage.cost_usd is None


def test_a_flood_is_bounded_and_counted() -> None:
    parser = GeminiParser(ask())
    call = line(type="tool_use", tool_name="run_shell_command", parameters={"command": "git push"})
    for _ in range(200):
        parser.feed((call + SAID + refused("policy_violation")) * 100)
    parser.feed(SAID * 5000)
    told = parser.finish(ExitInfo(status=0))
    assert told.tool_calls == {A.GIT_PUSH: 20_000}
    assert (len(told.denials), len(told.answer), told.usage.turns) == (100, 10_000, 20_001)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_is_the_one_that_was_recorded(name: str) -> None:
    recorded = command("gemini", name)
    given = {"GEMINI_API_KEY": "fake-key", "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:PORT"}
    made = launch(asked_for(recorded, "gemini-2.5-pro"), place(env=given))
    alone = ["--extensions", "none"]
    assert [word for word in made.argv if word not in alone] == recorded["argv"]
    assert made.stdin == (HEAD + recorded["stdin"]).encode()
    assert {key: made.env[key] for key in recorded["env"]} == recorded["env"]
    if then := recorded["files"].get("policy.toml"):
        assert set(_rules(then)) <= set(_rules(made.files["policy.toml"].decode()))
    settings = json.loads(made.files[".gemini/settings.json"])
    for group, values in json.loads(recorded["files"][".gemini/settings.json"]).items():
        assert set(values) <= {*settings.get(group, {}), "maxSessionTurns"}


def _rules(policy: str) -> list[str]:
    return [rule.strip() for rule in policy.split("[[rule]]") if rule.strip()]
