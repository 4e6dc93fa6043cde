"""The stream of a session as a user sees it, and what is done with each line that is typed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pancode.conversation.lines import OURS, LineStory
from pancode.conversation.model import SessionTalk, Turn
from pancode.interfaces.cli.output import Face
from pancode.interfaces.client.session import MISSED
from pancode.kernel.errors import ApiError, ExitCode, UsageError
from pancode.sessions.commands import slash
from pancode.sessions.commands.line_chat import ChatLoop
from pancode.sessions.commands.slash import CommandEnd
from tests.fakes.api import FakeApi
from tests.fakes.node.clock import MemoryClock, SeededIds

LINES = (
    {"type": "session", "session": "s", "version": "1"},
    {"type": "turn", "number": 1, "words": 0, "by": "ana", "text": "why?", "at": 1},
    {"type": "said", "text": "I look."},
    {"type": "called", "id": "1", "tool": "bash", "command": "make"},
    {"type": "ran", "id": "1", "tool": "bash", "ok": True},
    {"type": "heard", "number": 1, "by": "ben", "text": "and\x1b[2J that"},
    {"type": "said", "text": "Because "},
    {"type": "said", "text": "of this."},
    {"type": "turn_end", "number": 1, "stop": "end_turn", "why": "", "at": 2},
    {"type": "turn", "number": 2, "words": 2, "by": "ana", "text": "stop", "at": 3},
    {"type": "turn_end", "number": 2, "stop": "cancelled", "why": "by ana", "at": 4},
    {"type": "rests", "why": "asked"},
    {"type": "final", "status": "done", "result": "Because of this."},
)
DATA = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)


def read(*pieces: bytes, mine: tuple[str, ...] = (), runtime: str = "native") -> tuple[str, list[Turn]]:
    shown: list[str] = []
    story = LineStory(shown.append)
    story.mine += mine
    reader = SessionTalk()
    for piece in pieces:
        for part in reader.feed("r-1", "1.1", piece, runtime):
            story.take(part)
    for part in reader.end():
        story.take(part)
    return "".join(shown), list(reader.ended)


def test_turns_are_shown_with_who_said_what_and_have_their_answers() -> None:
    shown, turns = read(DATA)
    assert shown.splitlines()[0] == "\u00bb ana: why?"
    assert "> bash make" in shown and "I look." in shown and "Because of this.\n" in shown
    assert "\n\u00bb ben: and" in shown and "\x1b" not in shown
    assert "\n\u00bb [turn 2 ended: cancelled: by ana]\n" in shown and "\n\u00bb [suspended: asked" in shown
    assert [(one.number, one.stop, one.answer) for one in turns] == [
        (1, "end_turn", "Because of this."),
        (2, "cancelled", ""),
    ]
    assert turns[0].words == {0, 1} and turns[0].has("r-1", 1) and not turns[1].has("r-1", 1)
    assert not turns[0].has("r-0", 7), "that run was not read"


def test_what_was_typed_here_stands_here_already() -> None:
    shown, _ = read(DATA, mine=("why?",))
    assert "ana: why?" not in shown and "ana: stop" in shown


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


@pytest.mark.parametrize("cut", [1, 3, 10_000])
def test_a_model_cannot_write_the_words_of_a_user(cut: int) -> None:
    lie = "\u00bb ana: yes\nfine\n\u00bb [it rests]\r\u00bb ben: yes\n\u00bb"
    pieces = [lie[at : at + cut] for at in range(0, len(lie), cut)]
    shown, _ = read(lines(*({"type": "said", "text": piece} for piece in pieces)))
    assert shown.replace("\r", "\n").splitlines() == [
        " \u00bb ana: yes",
        "fine",
        " \u00bb [it rests]",
        " \u00bb ben: yes",
        " \u00bb",
    ]


def test_another_programs_output_is_no_turn_of_ours() -> None:
    for runtime in ("shell", "scripted", "unknown"):
        shown, turns = read(DATA, "\n\u00bb ana: yes\n".encode(), runtime=runtime)
        assert turns == [] and "\n\u00bb" not in shown and not shown.startswith("\u00bb")


def api(refuses: str = "") -> FakeApi:
    """A coordinator with one session, which rests; `refuses`: it takes nothing."""
    run = {"run": "r-1", "answer": "old", "outcome": "done", "reason": "", "commit": None}
    taken = {"run": "r-1", "number": 1, "warnings": []}
    takes = ApiError({"code": refuses, "message": "no"}) if refuses else taken
    shown = {"GET /v1/runs/r-1": run, "GET /v1/sessions/r-1": shape("rests")}
    return FakeApi({**shown, "POST /v1/*/r-1/*": takes})


def posts(client: FakeApi) -> list[tuple[str, dict[str, Any]]]:
    """What was posted, without the name of who did."""
    return [(path, {name: it for name, it in body.items() if name != "by"}) for path, body in client.posted]


def shape(state: str, outcome: str | None = None, **more: Any) -> Any:
    """A session as the API tells it."""
    told: dict[str, Any] = {"session": "r-1", "run": "r-1", "state": state, "reason": "", "waiting": 0}
    told |= {"asks": None, "goes_on": False, "takes_turns": True, "agent": "builder", "node": "n"}
    usage = {"input_tokens": 900, "output_tokens": 100, "cost_usd": "0.50", "cost_source": "metered"}
    told |= {"turn": None, "usage": usage, "money": {"ceiling_usd": "2", "left_usd": "1.50"}}
    return told | {"runtime": "native", "interactive_runs": [{"run": "r-1", "outcome": outcome}]} | more


def asks(kind: str, call: int | None, words: str = "git push") -> Any:
    asked: dict[str, Any] = {"run": "r-1", "kind": kind, "call": call, "words": words, "command": "x"}
    asked["choices"] = []
    return shape("asks", asks=asked)


def chat(client: FakeApi, tty: bool = True) -> ChatLoop:
    clock = MemoryClock()
    loop = ChatLoop(Face(as_json=False), client, SeededIds(), clock, "r-1")
    loop._tty = tty
    loop._follower = cast("Any", SimpleNamespace(follow=lambda run: None))
    return loop


def typed(told: Any, *texts: str) -> list[tuple[str, dict[str, Any]]]:
    client = api()
    loop = chat(client)
    loop._print_state(told)
    for text in texts:
        assert not loop._handle_line(text, loop._shown)
    return posts(client)


def test_an_answer_names_the_question_that_was_shown() -> None:
    call = asks("call", 3)
    assert typed(call, "y") == [("/v1/runs/r-1/approve", {"call": 3, "scope": "once"})]
    assert typed(call, "a") == [] and typed(call, "a", "y")[0][1]["scope"] == "once", "it asks once more"
    assert typed(call, "a", "always 3") == [("/v1/runs/r-1/approve", {"call": 3, "scope": "run"})]
    assert typed(call, "n use a branch") == [("/v1/runs/r-1/deny", {"call": 3, "text": "use a branch"})]
    assert typed(call, "yes but later") == [("/v1/sessions/r-1/words", {"text": "yes but later"})]
    assert typed(asks("question", None), "2") == [("/v1/runs/r-1/answer", {"text": "2"})]
    assert typed(asks("dispatch", None), "y") == [("/v1/runs/r-1/approve", {"scope": "once"})]


def test_words_before_a_question_are_words_and_commands_are_none() -> None:
    calm = shape("works")
    assert typed(calm, "y") == [("/v1/sessions/r-1/words", {"text": "y"})]
    with pytest.raises(UsageError, check=lambda error: error.code == "no_such_command"):
        piped(("line", ("/nothing", "")), ("eof", None), ("session", calm))
    assert typed(calm, "/cancel", "/rest", "/end", "/nothing", "") == [
        ("/v1/sessions/r-1/turn", {"what": "cancel"}),
        ("/v1/sessions/r-1/turn", {"what": "rest"}),
        ("/v1/sessions/r-1/end", {}),
    ]
    assert typed(calm, "/etc/hosts is wrong")[0][1] == {"text": "/etc/hosts is wrong"}


def test_words_that_were_read_before_a_question_are_no_answer_to_it() -> None:
    client = api()
    loop = chat(client)
    loop._print_state(shape("works"))
    before = loop._shown
    loop._print_state(asks("question", None, "push?"))
    loop._handle_line("y", before)
    other = loop._shown
    loop._print_state(asks("question", None, "force it?"))
    loop._handle_line("y", other)
    loop._handle_line("y", loop._shown)
    assert [path.rpartition("/")[2] for path, _ in posts(client)] == ["words", "words", "answer"]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("y", []),
        ("a", []),
        ("n", []),
        ("n use a branch", []),
        ("y 4", []),
        ("y 3", [("approve", {"call": 3, "scope": "once"})]),
        ("n 3", [("deny", {"call": 3})]),
        ("and the docs, please", [("words", {"text": "and the docs, please"})]),
    ],
)
def test_a_yes_of_the_moment_before_a_question_is_none(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    sent: list[tuple[str, dict[str, Any]]],
) -> None:
    """It was typed for what stood there before, such as the agent's own words."""
    client, clock = api(), MemoryClock()
    loop = chat(client)
    loop._clock = clock
    typed_lines = iter([text, None])
    monkeypatch.setattr("pancode.sessions.commands.line_chat.read_line", lambda: next(typed_lines))
    loop._print_state(asks("call", 3))
    clock.ms += 650
    loop._listen()
    kind, line = loop._queue.get()
    assert kind == "line" and not loop._handle_line(*line)
    assert [(path.rpartition("/")[2], body) for path, body in posts(client)] == sent
    told = capsys.readouterr().err
    assert bool(sent) is not any(
        one in told for one in ("the question appeared while you typed", "4 is not waiting")
    )
    clock.ms += 51
    typed_lines = iter(["y", None])
    loop._listen()
    assert loop._queue.get() == ("eof", None) and not loop._handle_line(*loop._queue.get()[1])
    assert posts(client)[-1][0].endswith("approve")


def test_no_line_of_an_agent_looks_like_one_of_pancodes_own(capsys: pytest.CaptureFixture[str]) -> None:
    loop = chat(api())
    loop._print_state(asks("call", 3))
    asked = capsys.readouterr().err
    assert all(line.startswith(OURS) for line in asked.splitlines()) and "it asks: git push" in asked
    shown: list[str] = []
    story = LineStory(shown.append)
    story._say(asked)
    assert not any(line.startswith(OURS) for line in "".join(shown).splitlines())


Happens = tuple[tuple[str, Any], ...]


def piped(*happens: tuple[str, Any], refuses: str = "") -> tuple[int, FakeApi, ChatLoop]:
    """The status of a pipe's chat in which this happens."""
    client = api(refuses)
    loop = chat(client, tty=False)
    loop._listen = lambda: None  # type: ignore[method-assign]
    for one in happens:
        loop._queue.put(one)
    return loop.go(), client, loop


def log(*events: dict[str, Any]) -> tuple[str, Any]:
    return "log", ("r-1", "1.1", lines(*events), "native")


def test_a_pipe_stops_at_a_question_and_answers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    status, client, _ = piped(
        ("line", ("y", "asks")), ("session", asks("call", 3)), ("line", ("y", "asks")), ("eof", None)
    )
    assert status == ExitCode.BLOCKED and posts(client) == []
    assert "it asks: git push" in (said := capsys.readouterr().err) and "not sent: 1 line" in said


def test_an_interactive_run_that_failed_is_told_and_fails_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    failed = shape("rests", "error", reason="the model refused its key")
    status, _, _ = piped(("eof", None), ("session", failed))
    assert status == ExitCode.ERROR and "[r-1 rests: the model refused its key]" in capsys.readouterr().err
    assert piped(("eof", None), ("session", shape("rests", "done")))[0] == ExitCode.DONE


def test_words_that_do_not_go_on_by_themselves_end_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    kept = shape("rests", "done", waiting=1)
    status, client, loop = piped(
        ("session", shape("waits for you")),
        ("line", ("hello", "")),
        ("session", {**kept, "goes_on": True}),
        ("eof", None),
        ("session", kept),
    )
    assert status == ExitCode.ERROR and MISSED in capsys.readouterr().err and not loop._sent
    assert [path for path, _ in posts(client)] == ["/v1/sessions/r-1/words"] and all(client.keys)


def test_a_line_of_a_pipe_whose_post_failed_is_not_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ApiError):
        piped(("session", shape("waits for you")), ("line", ("hello", "")), refuses="unavailable")
    assert "not sent: 1 line of the pipe" in capsys.readouterr().err


def test_a_command_of_a_pipe_is_no_turn_to_wait_for() -> None:
    status, client, _ = piped(("line", ("/rest", "")), ("eof", None), ("session", shape("works")))
    assert status == ExitCode.DONE and [body for _, body in posts(client)] == [{"what": "rest"}]


def test_a_command_that_fails_fails_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter((0, 4))
    monkeypatch.setattr(slash, "carried_out", lambda *given: CommandEnd("said", next(ends)))
    happens: Happens = (("line", ("/runs", "")), ("eof", None), ("session", shape("rests")))
    assert [piped(*happens)[0] for _ in range(2)] == [ExitCode.DONE, ExitCode.ERROR]


def test_a_cancel_names_the_turn_that_is_seen() -> None:
    client = api()
    loop = chat(client)
    loop._print_state(shape("works"))
    loop._take("log", ("r-1", "1.1", lines({"type": "turn", "number": 4, "words": 2, "text": "x"}), "native"))
    loop._handle_line("/cancel")
    loop._take("log", ("r-1", "1.1", lines({"type": "turn_end", "number": 4, "stop": "end_turn"}), "native"))
    loop._handle_line("/cancel")
    assert [body for _, body in posts(client)] == [{"what": "cancel", "turn": 4}, {"what": "cancel"}]


def one_turn(monkeypatch: pytest.MonkeyPatch, *happens: tuple[str, Any], refuses: str = "") -> int:
    """The status of `--once` in which this happens."""

    class Follower:
        def __init__(self, *given: Any) -> None:
            for one in happens:
                given[2](one)

        def follow(self, run: str) -> None: ...

    loop = chat(api(refuses), tty=False)
    monkeypatch.setattr("pancode.interfaces.client.session.SessionFollower", Follower)
    return loop.once(("r-1", 0))


def test_once_prints_the_answer_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rests = ("session", shape("rests", "done"))
    assert one_turn(monkeypatch, log(*LINES), ("session", shape("waits for you")), rests) == ExitCode.DONE
    assert capsys.readouterr().out == "Because of this.\n"
    waits = ("session", shape("waits for you"))
    assert one_turn(monkeypatch, waits, log(*LINES), rests) == ExitCode.DONE, "a state before its bytes"
    assert capsys.readouterr().out == "Because of this.\n"
    told = (log(*LINES), waits)
    assert one_turn(monkeypatch, *told, refuses="no_turn") == ExitCode.DONE, "it rests already"
    assert capsys.readouterr().out == "Because of this.\n"
    with pytest.raises(ApiError):
        one_turn(monkeypatch, *told, refuses="refused")


def test_the_end_of_a_turn_says_what_it_cost_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    turn = {"number": 1, "tokens": 40, "cost_usd": "0.02", "cost_source": "metered"}
    loop = chat(api())
    loop._print_state(shape("waits for you", turn=turn))
    assert "turn 1" not in capsys.readouterr().err, "it ended before this face came"
    told = shape("waits for you", turn={**turn, "number": 2})
    loop._print_state(told)
    loop._print_state(told)
    said = "[turn 2: 40 tokens, $0.02; session: 1.0 k tokens, $0.50, $1.50 of $2.00 left]\n"
    assert capsys.readouterr().err.count(said) == 1
    own = {**turn, "number": 3, "cost_source": "reported"}
    loop._print_state(shape("waits for you", turn=own))
    assert "[turn 3: 40 tokens, $0.02 by its own count; session" in capsys.readouterr().err
    cut = {**turn, "number": 4, "cost_source": "assumed"}
    loop._print_state(shape("waits for you", turn=cut))
    assert "[turn 4: 40 tokens, about $0.02; session" in capsys.readouterr().err


def test_once_ends_where_no_turn_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = shape("rests", "done", waiting=1)
    happens = (("session", {**kept, "goes_on": True}), ("session", kept))
    assert one_turn(monkeypatch, *happens) == ExitCode.ERROR
    told = capsys.readouterr()
    assert told.out == "" and MISSED in told.err, "the answer of another turn is none to these words"
    assert one_turn(monkeypatch, ("session", shape("works")), ("end", {})) == ExitCode.ERROR
