"""The protocol's server: what it can do, what it refuses, and input that is broken or ends in a turn."""

from __future__ import annotations

import base64
import io
import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.clock import SystemIds
from pancode.interfaces.acp.server import AcpServer
from pancode.interfaces.acp.session import CANCEL_MS
from pancode.interfaces.client.client import ServerEvent, StreamCutError
from pancode.kernel import jsonrpc
from pancode.kernel.errors import ApiError
from pancode.kernel.jsonrpc import JsonRpcLines
from tests.crowd import until
from tests.fakes.api import FakeApi
from tests.fakes.node.clock import MemoryClock

Json = dict[str, Any]
PATIENCE_S = 60
FOLDER = "/home/ana/app"
SHAPE: Json = {
    "session": "r-1", "run": "r-1", "state": "works", "reason": "", "node": "box", "agent": "builder",
    "model": "m", "project": None, "asks": None, "goes_on": False, "takes_turns": True,
    "interactive_runs": [{"run": "r-1"}], "runtime": "native",
}  # fmt: skip
CALL: Json = {
    "run": "r-1",
    "kind": "call",
    "words": "rm x",
    "call": 3,
    "choices": [],
    "command": "pancode ...",
}


class StreamedSession(FakeApi):
    """The coordinator as its client sees it; `happened` is the stream of the one session."""

    def __init__(self) -> None:
        self.happened: list[ServerEvent] = []
        self._changed = threading.Condition()
        self.listening = list[object]()
        self.refuses: Exception | None = None
        unknown = ApiError({"message": "no matching run", "code": "not_found", "exit_code": 4})
        sessions = [{**SHAPE, "project": FOLDER, "title": "t", "changed_at": "2026-01-01"}]
        row = {"name": "box", "ref": "m", "embedding": False}
        shown = {
            "GET /v1/agents": {"agents": [{**row, "description": "w"}]},
            "GET /v1/models": {"models": [{**row, "tier_why": "w"}]},
            "GET /v1/fleet": {"nodes": [{**row, "state": "w"}]},
            "GET /v1/sessions": {"sessions": sessions},
            "GET /v1/sessions/r-1": SHAPE,
            "GET /v1/sessions/*": unknown,
        }
        super().__init__({**shown, "POST /v1/*": self._takes})

    def _takes(self, path: str, body: object) -> Json:
        if self.refuses is not None:
            raise self.refuses
        return {"run": "r-1", "number": len(self.posted), "warnings": [], "agent": "builder"}

    def events(
        self, method: str, path: str, body: Any = None, query: Any = None, wanted: Any = None
    ) -> Iterator[ServerEvent]:
        """From the beginning for each who asks, as long as they want it."""
        told = 0
        self.listening.append(wanted)
        while wanted():
            with self._changed:
                self._changed.wait_for(lambda told=told: len(self.happened) > told, 0.05)  # type: ignore[misc]
            new = self.happened[told:]
            yield from new
            told += len(new)
        self.listening.remove(wanted)

    def _happens(self, event: ServerEvent) -> None:
        with self._changed:
            self.happened.append(event)
            self._changed.notify_all()

    def writes(self, *events: Json) -> None:
        data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        told = {"run": "r-1", "attempt": "1.1", "next": 9, "b64": base64.b64encode(data).decode()}
        self._happens(ServerEvent("log", told))

    def state(self, **changed: Any) -> None:
        self._happens(ServerEvent("session", {**SHAPE, **changed}))


class Editor:
    """The editor's end of the two streams."""

    def __init__(self, fleet: StreamedSession, names: Path) -> None:
        self.fleet, self.sent, self.clock = fleet, queue.Queue[str](), MemoryClock()
        self.told: list[Json] = []
        self._changed = threading.Condition()
        lines = JsonRpcLines(self, self)  # type: ignore[arg-type]
        server = AcpServer(lines, lambda works: fleet, SystemIds(), self.clock, {}, names)
        self.thread = threading.Thread(target=server.serve, daemon=True)
        self.thread.start()

    def readline(self, most: int = -1) -> str:
        return self.sent.get()

    def write(self, text: str) -> int:
        with self._changed:
            self.told.append(json.loads(text))
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        pass

    def send(self, **message: Any) -> None:
        self.sent.put(json.dumps({"jsonrpc": "2.0", **message}) + "\n")

    def until(self, **wanted: Any) -> Json:
        """The first message that has these fields; without `method`, an answer: the server numbers its own
        requests, and one of them may have the same id."""

        def found() -> Json | None:
            told = (one for one in self.told if "method" in wanted or "method" not in one)
            return next((one for one in told if wanted.items() <= one.items()), None)

        with self._changed:
            assert self._changed.wait_for(found, PATIENCE_S), self.told
            return found() or {}

    def ask(self, number: int, method: str, **params: Any) -> Json:
        self.send(id=number, method=method, params=params)
        return self.until(id=number)

    def begun(self) -> str:
        self.ask(1, "initialize", protocolVersion=1, clientInfo={"name": "zed"})
        return str(self.ask(2, "session/new", cwd=FOLDER, mcpServers=[])["result"]["sessionId"])

    def say(self, number: int, session: str, text: str) -> None:
        params = {"sessionId": session, "prompt": [{"type": "text", "text": text}]}
        self.send(id=number, method="session/prompt", params=params)


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    return Editor(StreamedSession(), tmp_path / "editors")


TURN: tuple[Json, Json, Json] = (
    {"type": "turn", "number": 1, "words": 0, "by": "ana", "text": "go"},
    {"type": "said", "text": "Done."},
    {"type": "turn_end", "number": 1, "stop": "end_turn"},
)


def said(session: str, text: str, kind: str = "agent_message_chunk") -> Json:
    update = {"sessionUpdate": kind, "content": {"type": "text", "text": text}}
    return {"sessionId": session, "update": update}


def texts(editor: Editor, kind: str) -> list[str]:
    shown = [one["params"]["update"] for one in editor.told if one.get("method") == "session/update"]
    return [one["content"]["text"] for one in shown if one["sessionUpdate"] == kind]


def test_it_tells_what_it_can_do_and_no_more(editor: Editor) -> None:
    for number, version in enumerate((1, 0, 99), start=1):
        told = editor.ask(number, "initialize", protocolVersion=version)["result"]
        assert told["protocolVersion"] == 1 and told["authMethods"] == []
    can = editor.told[0]["result"]["agentCapabilities"]
    assert can["loadSession"] and can["sessionCapabilities"] == {"list": {}}
    assert not can["promptCapabilities"]["image"] and not can["mcpCapabilities"]["http"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("not json", -32700),
        ("[" * 100_000, -32700),
        ("[]", -32600),
        ("7", -32600),
        ('{"id": 1}', -32600),
        ('{"id": [1], "method": "initialize"}', -32600),
        ('{"id": 1, "method": "fs/read"}', -32601),
        ('{"id": 1, "method": "initialize"}', -32602),
        ('{"id": 1, "method": "initialize", "params": {"protocolVersion": "1"}}', -32602),
        ('{"id": 1, "method": "session/new", "params": {"cwd": "relative"}}', -32602),
        ('{"id": 1, "method": "session/new", "params": {"cwd": 7}}', -32602),
        ('{"id": 1, "method": "session/prompt", "params": {"sessionId": "x", "prompt": []}}', -32002),
        ('{"id": 1, "method": "session/load", "params": {"sessionId": "../../x", "cwd": "/a"}}', -32002),
        ('{"id": 1, "method": "session/set_config_option", "params": {"sessionId": 3}}', -32602),
    ],
)
def test_bad_input_is_refused_and_the_next_line_is_read(editor: Editor, line: str, code: int) -> None:
    editor.sent.put(f"{line}\n")
    editor.until(jsonrpc="2.0")
    assert editor.told[0]["error"]["code"] == code
    assert editor.ask(99, "initialize", protocolVersion=1)["result"]


def test_notifications_and_answers_of_nobody_are_nothing(editor: Editor) -> None:
    editor.send(method="session/cancel", params={"sessionId": "none"})
    editor.send(method="$/whatever")
    editor.send(id=12, result={"outcome": {"outcome": "selected", "optionId": "once"}})
    editor.send(id="x", error={"code": 1, "message": "m"})
    editor.ask(1, "initialize", protocolVersion=1)
    assert len(editor.told) == 1 and editor.fleet.posted == []


def test_a_line_that_is_too_long_is_skipped_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(jsonrpc, "MOST_LINE", 1_000)
    asked = json.dumps({"id": 5, "method": "initialize", "params": {"protocolVersion": 1}})
    sink = io.StringIO()
    lines = JsonRpcLines(io.StringIO("x" * 100_000 + "\n" + asked + "\n"), sink)
    AcpServer(lines, lambda works: None, SystemIds(), MemoryClock(), {}, tmp_path).serve()  # type: ignore[arg-type, return-value]
    long, fine = (json.loads(line) for line in sink.getvalue().splitlines())
    assert (long["error"]["code"], fine["id"]) == (-32600, 5)


def test_a_turn_is_streamed_and_ends_with_its_reason(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(*TURN)
    assert editor.until(id=3)["result"] == {"stopReason": "end_turn"}
    path, body = editor.fleet.posted[0]
    assert path == "/v1/sessions" and (body["task"], body["cwd"]) == ("go", FOLDER)
    assert body["by"].endswith("(zed)")
    assert texts(editor, "agent_message_chunk") == ["Done."] and texts(editor, "user_message_chunk") == []


@pytest.mark.parametrize("stop", ["failed", "lost", "none"])
def test_a_turn_that_failed_is_an_error_with_the_command_that_says_why(editor: Editor, stop: str) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(TURN[0], {**TURN[2], "stop": stop, "why": "the key is wrong"})
    refused = editor.until(id=3)["error"]
    assert "the key is wrong" in refused["message"] and refused["data"]["fix"] == "pancode why r-1"


@pytest.mark.parametrize("state", ["rests", "turn lost", "ended"])
def test_words_that_no_turn_took_are_an_error(editor: Editor, state: str) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.state(state=state, reason="its node is gone")
    assert "its node is gone" in editor.until(id=3)["error"]["message"]


def test_words_whose_answer_was_lost_are_said_again_under_their_key(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "hi")
    editor.fleet.state()
    editor.fleet.writes(*TURN)
    editor.until(id=3)
    editor.fleet.refuses = StreamCutError("it went away")
    for number in (4, 5):
        editor.say(number, session, "go on")
        assert "went away" in str(editor.until(id=number)["error"])
    editor.fleet.refuses = ApiError({"message": "no", "code": "no_room", "exit_code": 7})
    for number in (6, 7):
        editor.say(number, session, "go on")
        assert "error" in editor.until(id=number)
    _, first, again, refused, new = editor.fleet.keys
    assert first == again == refused != new, "a refusal has begun nothing"


def test_first_words_whose_answer_was_lost_begin_one_session(editor: Editor) -> None:
    session = editor.begun()
    editor.fleet.refuses = StreamCutError("it went away")
    editor.say(3, session, "go")
    assert "went away" in str(editor.until(id=3)["error"])
    editor.fleet.refuses = None
    editor.say(4, session, "go")
    editor.fleet.writes(*TURN)
    editor.until(id=4)
    lost, again = editor.fleet.keys
    assert lost == again and {path for path, _ in editor.fleet.posted} == {"/v1/sessions"}


def test_a_card_is_answered_by_its_number_and_only_as_it_offers(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(TURN[0])
    editor.fleet.state(state="asks", asks=CALL)
    card = editor.until(method="session/request_permission")
    assert [one["optionId"] for one in card["params"]["options"]] == ["once", "run", "no"]
    editor.send(id=card["id"], result={"outcome": {"outcome": "selected", "optionId": "run"}})
    until(lambda: len(editor.fleet.posted) == 2, "it is approved", PATIENCE_S)
    path, body = editor.fleet.posted[1]
    assert path == "/v1/runs/r-1/approve" and (body["call"], body["scope"]) == (3, "run")
    editor.send(id=card["id"], result={"outcome": {"outcome": "selected", "optionId": "run"}})
    editor.fleet.state(state="asks", asks={**CALL, "call": 4})
    later = editor.until(method="session/request_permission", id=card["id"] + 1)
    for wrong in ({"outcome": {"outcome": "selected", "optionId": "everything"}}, "x"):
        editor.send(id=later["id"], result=wrong)
    editor.fleet.writes(TURN[2])
    editor.until(id=3)
    assert len(editor.fleet.posted) == 2, (
        "an option that was not offered is not a yes, nor is a second answer"
    )


def test_a_card_that_another_face_has_answered_is_taken_away(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(TURN[0])
    editor.fleet.state(state="asks", asks=CALL)
    card = editor.until(method="session/request_permission")
    editor.fleet.state()
    gone = editor.until(method="$/cancel_request")
    assert gone["params"] == {"requestId": card["id"]}
    editor.send(id=card["id"], result={"outcome": {"outcome": "selected", "optionId": "once"}})
    editor.fleet.writes(*TURN[1:])
    editor.until(id=3)
    assert len(editor.fleet.posted) == 1, "its late yes answers nothing"


def test_a_question_ends_the_turn_and_the_next_words_answer_it_by_its_name(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    asked = {**CALL, "kind": "question", "words": "Which port?", "choices": ["80", "90"], "call": None}
    editor.fleet.state(state="asks", asks=asked)
    assert editor.until(id=3)["result"] == {"stopReason": "end_turn"}
    assert "Which port?\n1. 80\n2. 90" in editor.told[-2]["params"]["update"]["content"]["text"]
    editor.say(4, session, "2")
    until(lambda: len(editor.fleet.posted) == 2, "it is answered", PATIENCE_S)
    assert editor.fleet.posted[1][0] == "/v1/runs/r-1/answer"


def test_a_cancel_names_the_turn_and_an_interactive_run_that_waits_is_ended(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(TURN[0], TURN[1])
    editor.until(method="session/update", params=said(session, "Done."))
    editor.send(method="session/cancel", params={"sessionId": session})
    until(lambda: len(editor.fleet.posted) == 2, "it is cancelled", PATIENCE_S)
    assert editor.fleet.posted[1] == ("/v1/sessions/r-1/turn", {**editor.fleet.posted[1][1], "turn": 1})
    editor.fleet.writes({**TURN[2], "stop": "cancelled"})
    assert editor.until(id=3)["result"] == {"stopReason": "cancelled"}

    editor.say(4, session, "more")
    until(lambda: len(editor.fleet.posted) == 3, "it is said", PATIENCE_S)
    editor.fleet.refuses = ApiError({"message": "no turn", "code": "no_turn"})
    editor.send(method="session/cancel", params={"sessionId": session})
    until(lambda: len(editor.fleet.posted) == 5, "it is ended", PATIENCE_S)
    assert [path for path, _ in editor.fleet.posted[3:]] == ["/v1/sessions/r-1/turn", "/v1/sessions/r-1/end"]


def test_a_cancel_ends_the_turn_that_is_shown_whoever_began_it(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(TURN[0], TURN[1])
    editor.until(method="session/update", params=said(session, "Done."))
    editor.fleet.state(state="works")
    assert "result" in editor.ask(4, "session/load", sessionId=session, cwd=FOLDER, mcpServers=[])
    assert editor.until(id=3)["error"]["data"]["code"] == "left"
    editor.send(method="session/cancel", params={"sessionId": session})
    until(lambda: len(editor.fleet.posted) == 2, "it is cancelled", PATIENCE_S)
    path, body = editor.fleet.posted[1]
    assert (path, body["turn"]) == ("/v1/sessions/r-1/turn", 1)


def test_a_cancel_is_waited_for_by_the_clock_however_much_the_agent_says(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(TURN[0])
    editor.send(method="session/cancel", params={"sessionId": session})
    until(lambda: len(editor.fleet.posted) == 2, "it is cancelled", PATIENCE_S)
    for number in range(50):
        editor.fleet.writes({"type": "said", "text": f"piece {number}"})
        editor.until(method="session/update", params=said(session, f"piece {number}"))
    assert not [one for one in editor.told if one.get("id") == 3]
    editor.clock.advance(CANCEL_MS)
    assert editor.until(id=3)["result"] == {"stopReason": "cancelled"}


def test_the_number_of_a_lost_turn_cancels_nothing_of_the_next_interactive_run(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(TURN[0], TURN[1])
    editor.fleet.state(run="r-2", state="starts", goes_on=True)
    editor.fleet.state(run="r-2", state="asks", asks=CALL)
    editor.until(method="session/request_permission")
    editor.send(method="session/cancel", params={"sessionId": session})
    until(lambda: len(editor.fleet.posted) == 2, "it is cancelled", PATIENCE_S)
    assert editor.fleet.posted[1] == (
        "/v1/sessions/r-2/turn",
        {**editor.fleet.posted[1][1], "what": "cancel"},
    )
    assert "turn" not in editor.fleet.posted[1][1]


def test_a_yes_that_fails_is_asked_for_again_and_a_closed_card_names_the_command(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(TURN[0])
    editor.fleet.state(state="asks", asks=CALL)
    card = editor.until(method="session/request_permission")
    editor.fleet.refuses = ApiError({"message": "the link is cut", "code": "unavailable"})
    yes = {"outcome": {"outcome": "selected", "optionId": "once"}}
    editor.send(id=card["id"], result=yes)
    again = editor.until(method="session/request_permission", id=card["id"] + 1)
    assert again["params"] == card["params"]
    (words,) = texts(editor, "agent_thought_chunk")[1:]
    assert "the link is cut" in words and CALL["command"] in words
    editor.fleet.refuses = None
    editor.send(id=again["id"], result=yes)
    until(lambda: len(editor.fleet.posted) == 3, "it is approved", PATIENCE_S)

    editor.fleet.state(state="asks", asks={**CALL, "call": 4, "command": "pancode approve --call 4 r-1"})
    later = editor.until(method="session/request_permission", id=again["id"] + 1)
    editor.send(id=later["id"], result={"outcome": {"outcome": "cancelled"}})
    closed = "nobody has answered; it still waits: pancode approve --call 4 r-1\n"
    editor.until(method="session/update", params=said(session, closed, "agent_thought_chunk"))
    assert len(editor.fleet.posted) == 3


def test_input_that_ends_in_a_turn_ends_nothing_on_the_fleet(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    until(lambda: bool(editor.fleet.posted), "it is said", PATIENCE_S)
    editor.sent.put("")
    editor.thread.join(PATIENCE_S)
    assert not editor.thread.is_alive() and len(editor.fleet.posted) == 1


def test_a_session_is_loaded_by_the_name_that_an_editor_gave_it(editor: Editor, tmp_path: Path) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(*TURN)
    editor.until(id=3)
    later = Editor(StreamedSession(), tmp_path / "editors")
    listed = later.ask(1, "session/list", cwd=f"{FOLDER}/src")["result"]["sessions"]
    assert [one["sessionId"] for one in listed] == [session]
    assert later.ask(2, "session/list", cwd="/home/ana/other")["result"]["sessions"] == []
    later.fleet.writes(*TURN)
    later.fleet.state(state="waits for you")
    options = later.ask(3, "session/load", sessionId=session, cwd=FOLDER, mcpServers=[])["result"]
    assert [one["currentValue"] for one in options["configOptions"]] == ["builder", "box", "m"]
    assert texts(later, "agent_message_chunk") == ["Done."]
    assert texts(later, "user_message_chunk")[0].endswith(": go")


def test_a_session_that_is_loaded_again_is_shown_and_asked_once(editor: Editor) -> None:
    session = editor.begun()
    editor.say(3, session, "go")
    editor.fleet.writes(TURN[0])
    editor.fleet.state(state="asks", asks=CALL)
    card = editor.until(method="session/request_permission")
    for number in (4, 5, 6):
        assert "result" in editor.ask(number, "session/load", sessionId=session, cwd=FOLDER, mcpServers=[])
    assert editor.until(id=3)["error"]["data"]["code"] == "left"
    until(lambda: len(editor.fleet.listening) == 1, "one listens", PATIENCE_S)
    cards = [one["id"] for one in editor.told if one.get("method") == "session/request_permission"]
    gone = [one["params"]["requestId"] for one in editor.told if one.get("method") == "$/cancel_request"]
    assert cards == [card["id"] + more for more in range(4)] and gone == cards[:-1]
    editor.fleet.writes(TURN[1])
    editor.fleet.writes({"type": "said", "text": "the end"})
    editor.until(method="session/update", params=said(session, "the end"))
    assert texts(editor, "agent_message_chunk") == ["Done.", "the end"]


def test_what_a_session_is_made_of_is_chosen_before_its_first_words(editor: Editor) -> None:
    session = editor.begun()

    def choose(number: int, option: str, value: str) -> Json:
        return editor.ask(
            number, "session/set_config_option", sessionId=session, configId=option, value=value
        )

    chosen = choose(3, "node", "box")["result"]["configOptions"]
    assert [one["currentValue"] for one in chosen] == ["default", "box", "default"]
    assert choose(4, "node", "other")["error"]["code"] == -32602
    assert choose(5, "color", "box")["error"]["code"] == -32602
    editor.say(6, session, "go")
    editor.fleet.writes(*TURN)
    editor.until(id=6)
    assert editor.fleet.posted[0][1]["node"] == "box" and "agent" not in editor.fleet.posted[0][1]
    assert "after the first message" in choose(7, "node", "box")["error"]["message"]
