"""The MCP server's protocol: both eras, refusals with codes, calls that wait, end early or are cancelled."""

from __future__ import annotations

import io
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from pancode.interfaces.mcp.prompts import prompt_of
from pancode.interfaces.mcp.protocol import CallProgress, McpServer, ParamsError, ServerOffer
from pancode.kernel import jsonrpc

Json = dict[str, Any]
PATIENCE_S = 20


def _call(name: str, given: Json, by: str, progress: CallProgress) -> Json:
    if name == "wait":
        progress.report(1, "begun")
        progress.wait(PATIENCE_S)
    if name == "none":
        raise ParamsError("there is no tool none")
    if name == "broken":
        raise ZeroDivisionError("by zero")
    return {"content": [], "structuredContent": {"by": by, **given}, "isError": False}


OFFER = ServerOffer(
    info={"name": "test"},
    instructions="words",
    tools=lambda: [{"name": "echo"}],
    call=_call,
    templates=lambda: [{"name": "log"}],
    read=lambda address: {"contents": [{"uri": address}]},
)


class Lines:
    """Standard input of a client that is still there: lines come when the test sends them."""

    def __init__(self) -> None:
        self.lines: queue.Queue[str] = queue.Queue()

    def readline(self, most: int = -1) -> str:
        return self.lines.get(timeout=PATIENCE_S)


class Sink:
    """Standard output: `answers` is a list that a test can wait on."""

    def __init__(self) -> None:
        self.answers: queue.Queue[Json] = queue.Queue()

    def write(self, text: str) -> int:
        assert text.endswith("\n") and text.isascii(), "one line for one message"
        self.answers.put(json.loads(text))
        return len(text)

    def flush(self) -> None:
        pass

    def next(self) -> Json:
        return self.answers.get(timeout=PATIENCE_S)


def answers(*messages: Json | str) -> list[Json]:
    """All answers to these lines; calls must have ended, which the caller sees by their number."""
    text = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in messages)
    out = io.StringIO()
    McpServer(OFFER, io.StringIO(text), out).serve()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def ask(method: str, number: Any = 1, **params: Any) -> Json:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


@pytest.mark.parametrize(
    ("asked", "version"),
    [
        ("2025-06-18", "2025-06-18"),
        ("2024-11-05", "2024-11-05"),
        ("1999-01-01", "2025-11-25"),
        (7, "2025-11-25"),
    ],
)
def test_a_handshake_agrees_on_a_version(asked: Any, version: str) -> None:
    (answer,) = answers(ask("initialize", protocolVersion=asked, clientInfo={"name": "c"}))
    assert answer["result"]["protocolVersion"] == version
    assert answer["result"]["instructions"] == "words"
    assert set(answer["result"]["capabilities"]) == {"tools", "resources"}


def test_a_client_without_a_handshake_discovers_and_calls() -> None:
    meta = {"io.modelcontextprotocol/clientInfo": {"name": "newer"}}
    found, called = answers(
        ask("server/discover"), ask("tools/call", 2, name="echo", arguments={"a": 1}, _meta=meta)
    )
    assert found["result"]["supportedVersions"] == ["2026-07-28"]
    assert found["result"]["resultType"] == called["result"]["resultType"] == "complete"
    assert called["result"]["structuredContent"] == {"by": "newer", "a": 1}


def test_lists_and_resources_are_answered() -> None:
    tools, resources, templates, read, ping = answers(
        ask("tools/list"),
        ask("resources/list"),
        ask("resources/templates/list"),
        ask("resources/read", uri="x://y"),
        ask("ping"),
    )
    assert tools["result"]["tools"] == [{"name": "echo"}] and resources["result"]["resources"] == []
    assert templates["result"]["resourceTemplates"] == [{"name": "log"}]
    assert read["result"]["contents"] == [{"uri": "x://y"}] and ping["result"] == {}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("no json", -32700),
        ("[" * 100_000, -32700),
        ("[1]", -32600),
        ('{"id": 1}', -32600),
        ('{"id": [1], "method": "ping"}', -32600),
        (ask("unheard/of"), -32601),
        (ask("tools/call", name="none"), -32602),
        (ask("tools/call", name=7), -32602),
        (ask("tools/call", name="echo", arguments=[1]), -32602),
        (ask("resources/read"), -32602),
        ({**ask("tools/call", name="none"), "params": {"name": "none", "_meta": "y"}}, -32602),
        (ask("tools/call", name="broken"), -32603),
    ],
)
def test_a_wrong_request_is_refused_and_the_next_is_served(line: Json | str, code: int) -> None:
    told = answers(line, ask("ping", "after"))
    assert {one["id"] for one in told if "result" in one} == {"after"}
    assert [one["error"]["code"] for one in told if "error" in one] == [code]


def test_arguments_of_a_prompt_that_are_no_object_are_refused_as_those_of_a_tool() -> None:
    out, line = io.StringIO(), json.dumps(ask("prompts/get", name="review", arguments="x"))
    McpServer(replace(OFFER, prompt=prompt_of), io.StringIO(line), out).serve()
    assert json.loads(out.getvalue())["error"] == {"code": -32602, "message": "arguments must be an object"}


def test_notifications_and_answers_of_the_client_get_no_answer() -> None:
    assert (
        answers(
            {"method": "notifications/initialized"},
            {"id": 1, "result": {}},
            {"method": "notifications/cancelled"},
            "",
        )
        == []
    )


def test_a_message_that_is_too_long_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrpc, "MOST_LINE", 1_000)
    long, after = answers(ask("ping", text="x" * 5_000), ask("ping", 2))
    assert long["error"]["code"] == -32600 and after["id"] == 2


@pytest.fixture
def begun() -> Iterable[tuple[Callable[[Json], None], Sink]]:
    lines, sink = Lines(), Sink()
    thread = threading.Thread(target=McpServer(OFFER, lines, sink).serve, daemon=True)  # type: ignore[arg-type]
    thread.start()
    yield lambda message: lines.lines.put(json.dumps(message) + "\n"), sink
    lines.lines.put("")
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_call_that_waits_holds_up_nothing_tells_how_far_it_is_and_can_be_cancelled(
    begun: tuple[Callable[[Json], None], Sink],
) -> None:
    send, sink = begun
    send(ask("tools/call", 7, name="wait", arguments={}, _meta={"progressToken": "t"}))
    told = sink.next()
    assert told["method"] == "notifications/progress"
    assert told["params"] == {"progressToken": "t", "progress": 1, "message": "begun"}
    send(ask("ping", 8))
    assert sink.next()["id"] == 8, "the call still waits"
    send({"method": "notifications/cancelled", "params": {"requestId": 7}})
    send(ask("ping", 9))
    assert sink.next()["id"] == 9, "a cancelled call gets no answer"


def test_it_starts_without_the_model_of_the_wire() -> None:
    """Programs start it with each session of theirs, and wait for it."""
    modules = "pancode.interfaces.mcp.commands, pancode.interfaces.mcp.server"
    probe = f"import sys, {modules}; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
