"""The parser of `codex` against transcripts of the real program, and the command lines that made them."""

from __future__ import annotations

import json

import pytest

from node_agent.runtimes.base import (
    Activity,
    Denial,
    ExitInfo,
    Resume,
    Retrying,
    RuntimeVerdict,
    SessionStarted,
    TextPiece,
    ToolCall,
)
from node_agent.runtimes.codex.command import launch
from node_agent.runtimes.codex.parse import CodexParser
from node_agent.runtimes.starting import HEAD
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.receipt import Usage
from tests.contract.transcripts import Case, asked_for, cases, command, feed, line, output, verdict
from tests.unit.node_agent.runtimes.asked import ask, place

NAMES = cases("codex")
DONE = "Done: the work is finished."
NO = (0, 0, 0)
EXPECTED = {
    "ok-text": Case(None, (1200, 500, 34), None, 1, "Hello from the model."),
    "ok-edit": Case(None, (3600, 1500, 102), None, 1, DONE, (A.SHELL, A.FILE_WRITE)),
    "ok-shell": Case(None, (2400, 1000, 68), None, 1, DONE, (A.SHELL,)),
    "tool-denied": Case(
        None, (3600, 1500, 102), None, 1, DONE
    ),  # its sandbox leaves no event of what it stopped
    "shell-denied": Case(None, (2400, 1000, 68), None, 1, DONE, (A.SHELL,)),  # it ran, inside its sandbox
    "http-401": Case(F.MODEL_AUTH, NO, "0", 0),
    "http-429": Case(F.MODEL_BUSY, NO, "0", 0),
    "http-500": Case(F.MODEL_FAILED, NO, None, 1),
    "bad-stream": Case(F.MODEL_FAILED, NO, None, 1),
    "cut-stream": Case(F.MODEL_FAILED, NO, None, 1),
    "refusal": Case(F.AGENT_FAILED, NO, None, 1, "I cannot help with that."),
    "stalled": Case(F.NO_ANSWER, NO, None, 0),
    "sigint": Case(F.NO_ANSWER, NO, None, 0),
    "sigterm-shell": Case(F.NO_ANSWER, NO, None, 0, "", (A.UNKNOWN,)),
}


@pytest.mark.parametrize("name", NAMES)
def test_outcome_usage_and_session(name: str) -> None:
    told = verdict("codex", name)
    EXPECTED[name].check(told)
    assert told.session == json.loads(output("codex", name).splitlines()[0])["thread_id"]


def activities(data: bytes) -> list[Activity]:
    return CodexParser(ask(model="gpt-5.5")).feed(data)


def test_activities_come_as_they_happen() -> None:
    started, *more = activities(output("codex", "ok-edit"))
    assert isinstance(started, SessionStarted) and started.model == "gpt-5.5"
    calls = [a for a in more if isinstance(a, ToolCall)]
    assert [(c.tool, c.action, c.detail) for c in calls] == [
        ("command_execution", A.SHELL, "cat '$WORK/notes.txt'"),
        ("file_change", A.FILE_WRITE, "$WORK/notes.txt"),
    ]
    assert [a.text for a in more if isinstance(a, TextPiece)] == ["I edit the file.", DONE]
    retries = [a for a in activities(output("codex", "http-429")) if isinstance(a, Retrying)]
    assert retries[0].status == 429


USED = {"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 3}
SAID = line(type="item.completed", item={"id": "i", "type": "agent_message", "text": "ok"})
END = line(type="turn.completed", usage=USED)


def item(kind: str, **fields: object) -> bytes:
    return line(type="item.completed", item={"id": "x", "type": kind, **fields})


def judged(events: bytes, status: int = 0, resume: Resume | None = None) -> RuntimeVerdict:
    start = line(type="thread.started", thread_id="s") + line(type="turn.started")
    return feed("codex", start + events, ExitInfo(status=status), resume=resume)


def failed(words: object) -> bytes:
    return line(type="turn.failed", error={"message": words})


@pytest.mark.parametrize(
    ("events", "status", "failure"),
    [
        (SAID + END, 0, None),
        (SAID, 0, F.NO_ANSWER),
        (END, 0, F.NO_ANSWER),
        (SAID + line(type="turn.completed"), 0, F.RUNTIME_UNREADABLE),
        (SAID + line(type="turn.completed", usage={"other": 1}), 0, F.RUNTIME_UNREADABLE),
        (SAID + failed("Missing environment variable: `OPENAI_API_KEY`."), 1, F.MODEL_AUTH),
        (SAID + failed("unexpected status 400 Bad Request: no such tool"), 1, F.MODEL_REFUSED),
        (SAID + failed("unexpected status 529 Overloaded"), 1, F.MODEL_BUSY),
        (SAID + failed("Codex ran out of room in the model's context window."), 1, F.AGENT_FAILED),
        (SAID + failed("You've hit your usage limit."), 1, F.MODEL_BUSY),
        (SAID + failed(None), 0, F.MODEL_FAILED),
        (SAID + END + failed("late"), 0, F.MODEL_FAILED),  # the last one counts
        (SAID + failed("early") + END, 0, None),
        (SAID + END + line(type="turn.started"), 0, F.NO_ANSWER),
        (item("error", message="Model metadata not found") + SAID + END, 0, None),
        (item("command_execution", status="declined") + SAID + END, 0, F.TOOL_DENIED),
        (item("file_change", status="declined") + item("web_search") + SAID + END, 0, None),
        (line(type="item.completed", item=7) + line(type="turn.failed", error=7), 1, F.MODEL_FAILED),
    ],
)
def test_ends_that_no_transcript_shows(events: bytes, status: int, failure: F | None) -> None:
    assert judged(events, status).failure is failure


NO_BWRAP = "bwrap: Creating new namespace failed: max_*_namespaces exceeded (ENOSPC)\n"


def test_a_sandbox_that_cannot_start_is_the_nodes_fault() -> None:
    """As the real program does it without user namespaces: nothing ran, and the model says done."""
    call = item("command_execution", aggregated_output=NO_BWRAP, exit_code=1, status="failed")
    told = judged(call + item("file_change", status="failed") + SAID + END)
    assert told.failure is F.RUNTIME_MISSING and "Creating new namespace failed" in told.reason
    worked = item("command_execution", aggregated_output="x", exit_code=0, status="completed")
    assert judged(call + worked + SAID + END).failure is None


def test_a_flood_is_bounded_and_counted() -> None:
    parser = CodexParser(ask())
    for number in range(20_000):
        calls = item("command_execution", command="true", status="declined", id=f"c{number}")
        parser.feed(calls.replace(b"completed", b"started") + calls)
    told = parser.finish(ExitInfo(status=0))
    assert told.tool_calls == {A.SHELL: 20_000}
    assert len(told.denials) == 100


@pytest.mark.parametrize(
    ("fields", "action", "detail"),
    [
        (
            {"type": "command_execution", "command": "/bin/bash -lc 'git push -f'"},
            A.GIT_DESTRUCTIVE,
            "git push -f",
        ),
        ({"type": "command_execution", "command": "rm 'x"}, A.UNKNOWN, "rm 'x"),
        ({"type": "command_execution", "command": None}, A.SHELL, ""),
        ({"type": "file_change", "changes": [{"path": "a", "kind": "delete"}]}, A.FILE_DELETE, "a"),
        ({"type": "file_change", "changes": 7}, A.FILE_WRITE, ""),
        ({"type": "web_search", "query": "q"}, A.NETWORK, "q"),
        ({"type": "collab_tool_call", "tool": "spawn_agent"}, A.DISPATCH, "spawn_agent"),
        ({"type": "mcp_tool_call", "tool": "t"}, A.UNKNOWN, "t"),
    ],
)
def test_what_a_call_does(fields: dict[str, object], action: A, detail: str) -> None:
    (call,) = activities(line(type="item.started", item={"id": "1", **fields}))
    assert isinstance(call, ToolCall)
    assert (call.action, call.detail) == (action, detail)


def test_a_declined_call_is_told_as_it_happens() -> None:
    told = activities(item("command_execution", command="ls", status="declined"))
    assert [type(a) for a in told] == [ToolCall, Denial]


def test_a_resumed_session_used_what_it_added() -> None:
    before = Usage(input_tokens=5, cached_tokens=1, output_tokens=2)
    usage = judged(SAID + END, resume=Resume("s", before)).usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (1, 3, 1)
    less = Usage(input_tokens=99, cached_tokens=99, output_tokens=99)
    assert judged(SAID + END, resume=Resume("s", less)).usage == Usage(turns=1)


SINCE = {
    "model_providers.pancode.env_key": '"OPENAI_API_KEY"',  # it was recorded with a name of its own
    "model_providers.pancode.stream_max_retries": "3",  # and with one retry
    "project_doc_max_bytes": "0",  # and in a workspace without AGENTS.md
}


def settings_of(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """The argument list without its `-c` pairs, and those."""
    pairs = [argv[i + 1] for i, word in enumerate(argv) if word == "-c"]
    rest = [word for i, word in enumerate(argv) if word != "-c" and argv[max(i - 1, 0)] != "-c"]
    return rest, dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_is_the_one_that_was_recorded(name: str) -> None:
    recorded = command("codex", name)
    given = {"OPENAI_API_KEY": "fake-key", "OPENAI_BASE_URL": "http://127.0.0.1:PORT/v1"}
    made = launch(asked_for(recorded, "gpt-5.5"), place(env=given))
    (words, settings), (words_then, then) = settings_of(list(made.argv)), settings_of(recorded["argv"])
    assert words == words_then
    assert settings == {**then, **SINCE}
    assert made.stdin == (HEAD + recorded["stdin"]).encode()
    env = {k: v for k, v in recorded["env"].items() if k != "PANCODE_MODEL_KEY"}
    assert {k: made.env[k] for k in env} == env
    assert recorded["files"].keys() <= made.files.keys()
