"""The parser of `qwen` against transcripts of the real program, and the command lines that made them."""

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
from node_agent.runtimes.qwen.command import launch
from node_agent.runtimes.qwen.parse import QwenParser
from node_agent.runtimes.starting import HEAD
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.receipt import Usage
from tests.contract.transcripts import Case, asked_for, cases, command, feed, line, output, verdict
from tests.unit.node_agent.runtimes.asked import ask, place

NAMES = cases("qwen")
DONE = "Done: the work is finished."
NO = (0, 0, 0)
EXPECTED = {
    "ok-text": Case(None, (2400, 1000, 68), None, 1, "Hello from the model."),  # a side request included
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
    "http-401": Case(F.MODEL_AUTH, NO, "0", 0, "[API Error: 401"),  # exit status 0, and called a success
    "http-429": Case(F.NO_ANSWER, NO, None, 0),  # it asked again and again until it was killed
    "http-500": Case(F.NO_ANSWER, NO, None, 0),
    "bad-stream": Case(F.MODEL_FAILED, NO, None, 0, "[API Error: "),
    "cut-stream": Case(F.MODEL_FAILED, NO, None, 0, "half of an a[API Error: "),
    # It does not tell that the model refused.
    "refusal": Case(None, (2400, 1000, 68), None, 1, "I cannot help with that."),
    "sigterm-shell": Case(F.NO_ANSWER, (19726, 0, 14), None, 1, calls=(A.UNKNOWN,)),
    "stalled": Case(F.NO_ANSWER, NO, None, 0),
    "sigint": Case(F.NO_ANSWER, NO, None, 0),
}


@pytest.mark.parametrize("name", NAMES)
def test_outcome_usage_and_session(name: str) -> None:
    told = verdict("qwen", name)
    EXPECTED[name].check(told)
    assert told.session == json.loads(output("qwen", name).splitlines()[0])["session_id"]
    assert (told.model, told.version) == ("fake-coder", "0.15.10")


def test_activities_come_as_they_happen() -> None:
    started, *more = QwenParser(ask()).feed(output("qwen", "ok-edit"))
    assert isinstance(started, SessionStarted) and started.model == "fake-coder"
    calls = [a for a in more if isinstance(a, ToolCall)]
    assert [(c.tool, c.detail) for c in calls] == [
        ("read_file", "$WORK/notes.txt"),
        ("edit", "$WORK/notes.txt"),
    ]
    assert [a.text for a in more if isinstance(a, TextPiece)] == ["I edit the file.", DONE]
    grew = [a.usage for a in more if isinstance(a, UsageGrew)]
    assert [(u.turns, u.output_tokens) for u in grew] == [(1, 34), (2, 68), (3, 102), (3, 102)]
    denied = [a for a in QwenParser(ask()).feed(output("qwen", "tool-denied")) if isinstance(a, Denial)]
    assert [d.action for d in denied] == [A.FILE_WRITE, A.SHELL]


TOKENS = {"input_tokens": 10, "output_tokens": 4, "cache_read_input_tokens": 3}
START = line(type="system", subtype="init", session_id="s", model="m")


def message(**block: object) -> bytes:
    return line(type="assistant", session_id="s", message={"content": [block], "usage": TOKENS})


def over(words: str, error: bool = True) -> bytes:
    block = {"type": "tool_result", "tool_use_id": "t", "is_error": error, "content": words}
    return line(type="user", session_id="s", message={"content": [block]})


def result(words: str = "ok", **more: object) -> bytes:
    told = {"subtype": "success", "is_error": False, "usage": TOKENS, "result": words, **more}
    return line(type="result", session_id="s", **told)


SAID = message(type="text", text="ok")
USED = message(type="tool_use", id="t", name="edit", input={"file_path": "a"})
DECLINED = 'Qwen Code requires permission to use "edit", but that permission was declined.'


@pytest.mark.parametrize(
    ("events", "status", "failure"),
    [
        (START + SAID + result(), 0, None),
        (START + SAID, 0, F.NO_ANSWER),
        (START + SAID, 53, F.TURN_LIMIT),  # its limit of turns, without a result
        (START + result(""), 0, F.NO_ANSWER),
        (START + SAID + result() + SAID, 0, F.NO_ANSWER),
        (START + SAID + result(usage=None), 0, F.RUNTIME_UNREADABLE),
        (START + SAID + result("[API Error: 429 slow down]"), 0, F.MODEL_BUSY),
        (START + SAID + result("[API Error: Connection error.]\n"), 0, F.MODEL_FAILED),
        (START + SAID + result("I saw `[API Error: 401 x]` in the log and mended it."), 0, None),
        (START + result("", subtype="error_during_execution", is_error=True), 1, F.AGENT_FAILED),
        (
            START
            + result(
                "", subtype="error_during_execution", is_error=True, error={"message": "Missing API key"}
            ),
            1,
            F.MODEL_AUTH,
        ),
        (START + SAID + result(is_error=None), 0, F.AGENT_FAILED),
        (START + USED + over(DECLINED) + SAID + result(), 0, F.TOOL_DENIED),
        (START + USED + over("Plan mode blocked a call.") + SAID + result(), 0, F.TOOL_DENIED),
        (START + USED + over("no such file") + SAID + result(), 0, None),
        (START + USED + over(DECLINED, error=False) + SAID + result(), 0, None),
        (START + USED + over(DECLINED) + USED + over("fine", error=False) + SAID + result(), 0, None),
    ],
)
def test_ends_that_no_transcript_shows(events: bytes, status: int, failure: F | None) -> None:
    told = judged(events, status)
    assert told.failure is failure, told.reason


def judged(events: bytes, status: int = 0, resume: Resume | None = None) -> RuntimeVerdict:
    return feed("qwen", events, ExitInfo(status=status), resume=resume)


def test_a_resumed_session_tells_the_whole_and_the_first_part_is_taken_off() -> None:
    before = Usage(input_tokens=5, cached_tokens=2, output_tokens=1)
    usage = judged(START + SAID + result(), resume=Resume("s", before)).usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (2, 1, 3)
    assert (usage.cost_usd, usage.cost_source) == (None, "unknown")


def test_a_refusal_after_work_is_not_free() -> None:
    busy = result("[API Error: 429 slow down]")
    assert judged(START + busy).usage.cost_usd == 0
    assert judged(START + USED + over("fine", error=False) + busy).usage.cost_usd is None


def test_a_flood_is_bounded_and_counted() -> None:
    parser = QwenParser(ask())
    call = message(type="tool_use", id="t", name="run_shell_command", input={"command": "git push"})
    for _ in range(200):
        parser.feed((call + over(DECLINED)) * 100)
    told = parser.finish(ExitInfo(status=0))
    assert told.tool_calls == {A.GIT_PUSH: 20_000}
    assert (len(told.denials), told.usage.turns) == (100, 20_000)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_is_the_one_that_was_recorded(name: str) -> None:
    recorded = command("qwen", name)
    given = {"OPENAI_API_KEY": "fake-key", "OPENAI_BASE_URL": "http://127.0.0.1:PORT/v1"}
    made = launch(asked_for(recorded, "fake-coder"), place(env=given))
    then = [word for word in recorded["argv"] if word not in ("--max-session-turns", "30")]
    assert set(then) <= set(made.argv) and list(made.argv[:9]) == then[:9]
    assert made.stdin == (HEAD + recorded["stdin"]).encode()
    assert {key: made.env[key] for key in recorded["env"]} == recorded["env"]
    assert json.loads(made.files[".qwen/settings.json"]) == json.loads(
        recorded["files"][".qwen/settings.json"]
    )
