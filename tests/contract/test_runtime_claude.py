"""The parser of `claude` against transcripts of the real program, fed in every way that they may arrive."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.runtimes.base import (
    Denial,
    EndedBy,
    ExitInfo,
    Resume,
    Retrying,
    SessionStarted,
    ToolCall,
    Verdict,
)
from node_agent.runtimes.claude.command import HEAD, launch
from node_agent.runtimes.claude.parse import ClaudeParser
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Isolation, Mode, Safety
from tests.unit.node_agent.runtimes.asked import ask, place

GOLDEN = Path(__file__).parent / "golden" / "claude"
NAMES = sorted(p.name.removesuffix(".stdout") for p in GOLDEN.glob("*.stdout"))


@dataclass(frozen=True)
class Case:
    """What must come out. `tokens`: input, cached, output; `usd` None: unknown; `answer`: how it begins."""

    failure: F | None
    tokens: tuple[int, int, int]
    usd: str | None
    turns: int
    answer: str = ""
    calls: tuple[A, ...] = ()
    denied: tuple[str, ...] = ()


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
    "sigterm-shell": Case(F.NO_ANSWER, (13529, 0, 1), None, 1, "", (A.SHELL,)),
}


def output(name: str) -> bytes:
    return (GOLDEN / f"{name}.stdout").read_bytes()


def ending(name: str) -> ExitInfo:
    status = int((GOLDEN / f"{name}.exit").read_text())
    return ExitInfo(status=status) if status >= 0 else ExitInfo(signal=-status)


def feed(data: bytes, cuts: list[int], end: ExitInfo) -> Verdict:
    parser = ClaudeParser()
    marks = [0, *cuts, len(data)]
    for a, b in zip(marks, marks[1:], strict=False):
        parser.feed(data[a:b])
    return parser.finish(end)


def test_every_transcript_is_judged() -> None:
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_outcome_usage_cost_and_session(name: str) -> None:
    case, verdict = EXPECTED[name], feed(output(name), [], ending(name))
    usage = verdict.usage
    assert verdict.failure is case.failure, verdict.reason
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == case.tokens
    assert usage.cost_usd == (None if case.usd is None else Decimal(case.usd))
    assert usage.cost_source == ("unknown" if case.usd is None else "reported")
    assert usage.turns == case.turns
    assert verdict.answer.startswith(case.answer)
    assert sorted(verdict.tool_calls) == sorted(case.calls)
    assert tuple(d.tool for d in verdict.denials) == case.denied
    first = json.loads(output(name).splitlines()[0])
    assert verdict.session == first["session_id"]
    assert (verdict.model, verdict.version) == ("claude-sonnet-4-5", "2.1.328")


@pytest.mark.parametrize("name", NAMES)
def test_byte_by_byte_is_the_same_as_whole(name: str) -> None:
    data, end = output(name), ending(name)
    assert feed(data, list(range(1, len(data))), end) == feed(data, [], end)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMES), st.lists(st.integers(0, 9000), max_size=10))
def test_any_chunks_are_the_same_as_whole(name: str, cuts: list[int]) -> None:
    data, end = output(name), ending(name)
    assert feed(data, sorted(min(c, len(data)) for c in cuts), end) == feed(data, [], end)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 9000), st.sampled_from([0, 1]))
def test_a_transcript_cut_anywhere_before_its_result_is_never_done(name: str, cut: int, status: int) -> None:
    whole = output(name).rstrip(b"\n")
    shorter = whole[: min(cut, len(whole) - 1)]
    assert feed(shorter, [], ExitInfo(status=status)).outcome is not Outcome.DONE


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("why", "failure"),
    [
        (EndedBy.WALL, F.WALL_LIMIT),
        (EndedBy.IDLE, F.IDLE_LIMIT),
        (EndedBy.OUTPUT, F.OUTPUT_LIMIT),
        (EndedBy.STOP, F.STOPPED),
    ],
)
def test_what_we_ended_outranks_any_transcript(name: str, why: EndedBy, failure: F) -> None:
    verdict = feed(output(name), [], ExitInfo(status=0, ended_by=why))
    assert verdict.failure is failure
    assert verdict.usage == feed(output(name), [], ending(name)).usage


def test_a_success_with_another_exit_status_is_an_error() -> None:
    assert feed(output("ok-text"), [], ExitInfo(status=1)).failure is F.AGENT_FAILED
    assert feed(output("ok-text"), [], ExitInfo(signal=9)).failure is F.AGENT_FAILED
    assert feed(output("ok-text"), [], ExitInfo()).failure is F.AGENT_FAILED


def test_activities_come_as_they_happen() -> None:
    parser, seen = ClaudeParser(), []
    for line in output("tool-denied").splitlines(keepends=True):
        seen += parser.feed(line)
    started = next(a for a in seen if isinstance(a, SessionStarted))
    assert started.model == "claude-sonnet-4-5"
    calls = [a for a in seen if isinstance(a, ToolCall)]
    assert [(c.tool, c.detail) for c in calls] == [
        ("Write", "$WORK/forbidden.txt"),
        ("Bash", "echo x > forbidden-shell.txt"),
    ]
    assert [a.action for a in seen if isinstance(a, Denial)] == [A.FILE_WRITE, A.SHELL]
    retries = [a for a in ClaudeParser().feed(output("http-429")) if isinstance(a, Retrying)]
    assert retries == [Retrying(429, "rate_limit")]


def line(**event: object) -> bytes:
    return json.dumps(event).encode() + b"\n"


def result(**changes: object) -> bytes:
    base = {"type": "result", "subtype": "success", "is_error": False, "result": "ok", "total_cost_usd": 0.5}
    return line(**{**base, "session_id": "s", "usage": {"input_tokens": 1}, "num_turns": 1, **changes})


INIT = line(type="system", subtype="init", session_id="s", model="m", claude_code_version="2.1.328")
BUDGET = {"subtype": "error_max_budget_usd", "is_error": True, "result": None}
TURNS = {"subtype": "error_max_turns", "is_error": True, "result": None, "errors": ["Reached maximum"]}


@pytest.mark.parametrize(
    ("events", "status", "failure"),
    [
        (b"", 127, F.RUNTIME_MISSING),
        (b"", 1, F.RUNTIME_UNREADABLE),
        (b"error: unknown option\n", 1, F.RUNTIME_UNREADABLE),
        (INIT, 0, F.NO_ANSWER),
        (INIT + result(), 0, None),
        (INIT + result(result="  "), 0, F.NO_ANSWER),
        (INIT + result(result=None), 0, F.NO_ANSWER),
        (INIT + result(**BUDGET), 1, F.USD_LIMIT),
        (INIT + result(**TURNS), 1, F.AGENT_FAILED),
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
    assert feed(events, [], ExitInfo(status=status)).failure is failure


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
    return feed(events + result(), [], ExitInfo(status=0)).failure


def test_a_denial_is_forgiven_when_the_agent_found_another_way() -> None:
    assert denied_then() is F.TOOL_DENIED
    assert denied_then(b"more") is None


def test_a_resumed_session_costs_what_it_added() -> None:
    parser = ClaudeParser(Resume("s", Decimal("0.5")))
    parser.feed(INIT + result(total_cost_usd=0.75))
    assert parser.finish(ExitInfo(status=0)).usage.cost_usd == Decimal("0.25")


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_is_the_one_that_was_recorded(name: str) -> None:
    recorded = json.loads((GOLDEN / f"{name}.cmd.json").read_text())
    request = ask(
        task=recorded["stdin"].rstrip("\n"),
        model="claude-sonnet-4-5",
        mode=Mode.BUILD,
        safety=Safety(recorded["safety"]),
        read_only=recorded["readonly"],
        workspace="$WORK",
        home="$HOME",
    )
    keys = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "CLAUDE_CODE_MAX_RETRIES")
    allowed = {k: recorded["env"][k] for k in keys}
    made = launch(request, place(is_root=True, isolation=Isolation.NONE, env=allowed))
    assert list(made.argv) == recorded["argv"]
    assert made.stdin == (HEAD + recorded["stdin"]).encode()
    # It was recorded with IS_SANDBOX everywhere; it is needed as root at full-auto only.
    ours = {**made.env, "IS_SANDBOX": "1"}
    assert {k: ours[k] for k in recorded["env"]} == recorded["env"]
    assert recorded["files"].keys() <= made.files.keys()
