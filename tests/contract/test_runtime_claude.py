"""The parser of `claude` against transcripts of the real program, and the command lines that made them."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from node_agent.runtimes.base import Denial, ExitInfo, Resume, Retrying, SessionStarted, ToolCall
from node_agent.runtimes.claude.command import launch
from node_agent.runtimes.claude.parse import ClaudeParser
from node_agent.runtimes.logins import LimitReset
from node_agent.runtimes.starting import HEAD
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Isolation
from node_agent.wire.receipt import Usage
from tests.contract.transcripts import Case, asked_for, cases, command, feed, line, output, verdict
from tests.unit.node_agent.runtimes.asked import ask, place

NAMES = cases("claude")
DONE = "Done: the work is finished."
EXPECTED = {
    "ok-text": Case(None, (1200, 500, 34), "0.00426", 1, "Hello from the model."),
    "ok-edit": Case(None, (3600, 1500, 102), "0.01278", 3, DONE, (A.FILE_READ, A.FILE_WRITE)),
    "ok-shell": Case(None, (2400, 1000, 68), "0.00852", 2, DONE, (A.SHELL,)),
    "tool-denied": Case(
        F.TOOL_DENIED, (3600, 1500, 102), "0.01278", 3, DONE, (A.FILE_WRITE, A.SHELL), ("Write", "Bash")
    ),
    "shell-denied": Case(F.TOOL_DENIED, (2400, 1000, 68), "0.00852", 2, DONE, (A.SHELL,), ("Bash",)),
    "http-401": Case(F.MODEL_AUTH, (0, 0, 0), "0", 1, "Invalid API key"),
    "http-429": Case(F.MODEL_BUSY, (0, 0, 0), "0", 1, "API Error: Request rejected (429)"),
    "http-500": Case(F.MODEL_FAILED, (0, 0, 0), "0", 1, "API Error: 500"),
    "bad-stream": Case(F.MODEL_FAILED, (0, 0, 0), "0", 1, "API Error: JSON Parse error"),
    "cut-stream": Case(F.MODEL_FAILED, (6305, 0, 1), "0.01893", 1, "API Error: Connection dropped"),
    "refusal": Case(F.AGENT_FAILED, (2400, 1000, 68), "0.00852", 2, "API Error: Sonnet 4.5 can't help"),
    "stalled": Case(F.NO_ANSWER, (0, 0, 0), None, 0),
    "sigint": Case(F.NO_ANSWER, (0, 0, 0), None, 0),
    "sigterm-shell": Case(F.NO_ANSWER, (13529, 0, 1), None, 1, "", (A.UNKNOWN,)),
}


@pytest.mark.parametrize("name", NAMES)
def test_outcome_usage_cost_and_session(name: str) -> None:
    told = verdict("claude", name)
    EXPECTED[name].check(told)
    assert told.session == json.loads(output("claude", name).splitlines()[0])["session_id"]
    assert (told.model, told.version) == ("claude-sonnet-4-5", "2.1.328")


def test_activities_come_as_they_happen() -> None:
    parser, seen = ClaudeParser(ask()), []
    for event in output("claude", "tool-denied").splitlines(keepends=True):
        seen += parser.feed(event)
    started = next(a for a in seen if isinstance(a, SessionStarted))
    assert started.model == "claude-sonnet-4-5"
    calls = [a for a in seen if isinstance(a, ToolCall)]
    assert [(c.tool, c.detail) for c in calls] == [
        ("Write", "$WORK/forbidden.txt"),
        ("Bash", "echo x > forbidden-shell.txt"),
    ]
    assert [a.action for a in seen if isinstance(a, Denial)] == [A.FILE_WRITE, A.SHELL]
    retries = [a for a in ClaudeParser(ask()).feed(output("claude", "http-429")) if isinstance(a, Retrying)]
    assert retries == [Retrying(429, "rate_limit")]


def test_a_window_of_a_subscription_says_when_it_ends() -> None:
    """The two lines as the real program wrote them for a login whose window was full."""
    full = {
        "status": "rejected",
        "resetsAt": 1795689055,
        "rateLimitType": "five_hour",
        "isUsingOverage": False,
    }
    over = result(is_error=True, api_error_status=429, result="You've hit your 5-hour limit")
    filling = line(type="rate_limit_event", rate_limit_info={**full, "status": "allowed_warning"})
    told = feed("claude", line(type="rate_limit_event", rate_limit_info=full) + over, ExitInfo(status=1))
    assert (told.failure, told.resets) == (F.MODEL_BUSY, LimitReset(1_795_689_055_000))
    assert feed("claude", filling + over, ExitInfo(status=1)).resets is None


def result(**changes: object) -> bytes:
    base = {"type": "result", "subtype": "success", "is_error": False, "result": "ok", "total_cost_usd": 0.5}
    return line(**{**base, "session_id": "s", "usage": {"input_tokens": 1}, "num_turns": 1, **changes})


INIT = line(type="system", subtype="init", session_id="s", model="m", claude_code_version="2.1.328")
BUDGET = {"subtype": "error_max_budget_usd", "is_error": True, "result": None}
TURNS = {"subtype": "error_max_turns", "is_error": True, "result": None, "errors": ["Reached maximum"]}


@pytest.mark.parametrize(
    ("events", "status", "failure"),
    [
        (INIT, 0, F.NO_ANSWER),
        (INIT + result(), 0, None),
        (INIT + result(result="  "), 0, F.NO_ANSWER),
        (INIT + result(result=None), 0, F.NO_ANSWER),
        (INIT + result(**BUDGET), 1, F.USD_LIMIT),
        (INIT + result(**TURNS), 1, F.TURN_LIMIT),
        (INIT + result(subtype="error_during_execution"), 0, F.AGENT_FAILED),
        (INIT + result(is_error=True, result="Not logged in · Please run /login"), 1, F.MODEL_AUTH),
        (INIT + result(is_error=True, api_error_status=404, result="no such model"), 1, F.MODEL_FAILED),
        (INIT + result(is_error=True, api_error_status=529, result="Overloaded"), 1, F.MODEL_BUSY),
        (INIT + result(is_error=True) + result(), 0, None),  # the last one counts
        (b'{"type": "result"}\n', 0, F.AGENT_FAILED),
        (line(type="assistant", message=7) + line(type="user", message={"content": [1]}), 0, F.NO_ANSWER),
    ],
)
def test_ends_that_no_transcript_shows(events: bytes, status: int, failure: F | None) -> None:
    assert feed("claude", events, ExitInfo(status=status)).failure is failure


def denied_then(*more: bytes) -> F | None:
    def call(number: str, name: str) -> bytes:
        block = {"type": "tool_use", "id": number, "name": name, "input": {}}
        return line(type="assistant", message={"id": number, "content": [block]})

    def answer(number: str, error: bool, decision: str) -> bytes:
        block = {"type": "tool_result", "tool_use_id": number, "is_error": error, "content": "words"}
        meta = [{"id": number, "permission_decision": {"decision": decision}}]
        return line(type="user", message={"content": [block]}, tool_result_meta=meta)

    events = INIT + call("a", "Write") + answer("a", True, "reject")
    if more:
        events += call("b", "Read") + answer("b", False, "accept")
    return feed("claude", events + result(), ExitInfo(status=0)).failure


def test_a_denial_is_forgiven_when_the_agent_found_another_way() -> None:
    assert denied_then() is F.TOOL_DENIED
    assert denied_then(b"more") is None


def test_a_resumed_session_costs_what_it_added() -> None:
    parser = ClaudeParser(ask(resume=Resume("s", Usage(cost_usd=Decimal("0.5"), cost_source="reported"))))
    parser.feed(INIT + result(total_cost_usd=0.75))
    assert parser.finish(ExitInfo(status=0)).usage.cost_usd == Decimal("0.25")


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_is_the_one_that_was_recorded(name: str) -> None:
    recorded = command("claude", name)
    request = asked_for(recorded, "claude-sonnet-4-5")
    keys = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "CLAUDE_CODE_MAX_RETRIES")
    allowed = {k: recorded["env"][k] for k in keys}
    made = launch(request, place(is_root=True, isolation=Isolation.NONE, env=allowed))
    assert list(made.argv) == recorded["argv"]
    assert made.stdin == (HEAD + recorded["stdin"]).encode()
    # It was recorded with IS_SANDBOX everywhere; it is needed as root at full-auto only.
    ours = {**made.env, "IS_SANDBOX": "1"}
    assert {k: ours[k] for k in recorded["env"]} == recorded["env"]
    assert recorded["files"].keys() <= made.files.keys()
