"""The fleet's tools as an MCP server beside an agent program: the real relay, and what it may bring about."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.acp.fleet import MOST_UNSENT, TELLS_MS, FleetServer
from node_agent.acp.relay import SOCKET
from node_agent.native.fleet import FleetChannel
from node_agent.native.voice import UserMessages
from node_agent.wire.fleet import MOST_ARGUMENTS, FleetTerms, FleetTool, LaidFleetAnswer, fleet_answer_file
from node_agent.wire.identity import messages_in, seal_text
from node_agent.workspace.homes import write_file
from tests.crowd import until
from tests.fakes.node.clock import MemoryClock
from tests.unit.node_agent.native.test_loop import Script, Stage
from tests.unit.node_agent.native.test_words import SECRET, WHO

DISPATCH = FleetTool(name="dispatch", description="hand over", parameters='{"type": "object"}')
TERMS = FleetTerms(tools=(DISPATCH,))


class Served:
    """A server with one relay, and this test as the agent program."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder, Script())
        self.home = folder / ("long" * 30)
        self.home.mkdir()
        voice = self.stage.loop.voice
        desk = FleetChannel(
            TERMS, voice, UserMessages(str(self.home), WHO, SECRET, voice), lambda seconds: None
        )
        self.clock = MemoryClock()
        self.server = FleetServer(TERMS, desk, str(self.home), self.clock)
        told = self.server.declared()
        self.relay = subprocess.Popen(
            [told["command"], *told["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self.relay.stdout is not None
        self.out = self.relay.stdout
        self._rest = b""

    def say(self, **message: Any) -> None:
        assert self.relay.stdin is not None
        self.relay.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def call(self, number: int, name: str = "dispatch", token: str = "", **given: Any) -> None:
        meta = {"_meta": {"progressToken": token}} if token else {}
        self.say(id=number, method="tools/call", params={"name": name, "arguments": given, **meta})

    def next(self) -> dict[str, Any]:
        """What the program hears next."""

        def heard() -> bool:
            self.server.poll()
            if select.select([self.out], [], [], 0.01)[0]:
                self._rest += self.out.read(1 << 16) or b""
            return b"\n" in self._rest

        until(heard, "an answer of the server")
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def result(self) -> tuple[str, bool]:
        found = self.next()["result"]
        return found["content"][0]["text"], found["isError"]

    def asks(self) -> None:
        """Until the call has come."""
        before = len(self.stage.told("asks_fleet"))

        def asked() -> bool:
            self.server.poll()
            return len(self.stage.told("asks_fleet")) > before

        until(asked, "a call of the program")

    def answers(self, number: int, text: str) -> None:
        data = seal_text(SECRET, -number, LaidFleetAnswer(ok=True, text=text).model_dump_json()).encode()
        write_file(self.home, messages_in(WHO), fleet_answer_file(number), data)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.server.close()
    made.relay.kill()
    made.relay.communicate()


def test_the_tools_are_listed_asked_for_and_answered(served: Served) -> None:
    served.server.turn = True
    served.say(id=1, method="initialize", params={"protocolVersion": "2025-06-18"})
    assert served.next()["result"]["capabilities"] == {"tools": {}}
    served.say(method="notifications/initialized")
    served.say(id=2, method="tools/list")
    (tool,) = served.next()["result"]["tools"]
    assert (tool["name"], tool["description"], tool["inputSchema"]) == (
        "dispatch",
        "hand over",
        {"type": "object"},
    )
    served.call(3, task="build it")
    served.asks()
    (told,) = served.stage.told("asks_fleet")
    assert (told["number"], told["tool"], told["arguments"]) == (1, "dispatch", {"task": "build it"})
    assert served.server.waits
    served.answers(1, "r-1")
    assert served.result() == ("r-1", False) and not served.server.waits
    assert [one["number"] for one in served.stage.told("fleet_over")] == [1]
    served.say(id=4, method="resources/list")
    assert served.next()["error"]["code"] == -32601


def test_what_is_no_name_or_outside_of_a_turn_is_not_asked(served: Served) -> None:
    served.call(1, task="before any turn")
    assert served.result() == ("no turn is in progress, so no call is made", True)
    served.server.turn = True
    served.call(2, name="Approve it")
    assert served.result() == ("Approve it is not a tool of this run", True)
    served.call(3, task="x" * MOST_ARGUMENTS)
    text, wrong = served.result()
    assert wrong and "characters" in text
    assert not served.stage.told("asks_fleet")


def test_what_is_not_offered_is_asked_for_and_so_in_the_audit(served: Served) -> None:
    served.server.turn = True
    served.call(1, name="approve", run="r-1")
    served.asks()
    assert served.stage.told("asks_fleet")[-1]["tool"] == "approve"


def test_the_end_of_a_turn_gives_its_calls_up(served: Served) -> None:
    served.server.turn = True
    served.call(1, task="a")
    served.asks()
    served.server.over()
    assert served.result() == ("the turn is over", True)
    assert [one["number"] for one in served.stage.told("fleet_over")] == [1]
    served.answers(1, "too late")
    served.server.turn = True
    served.call(2, task="b")
    served.asks()
    served.say(method="notifications/cancelled", params={"requestId": 2})
    assert served.result()[0] == "given up"


def test_a_client_that_wants_it_hears_that_its_call_goes_on(served: Served) -> None:
    served.server.turn = True
    served.call(1, token="t", task="a")
    served.asks()
    served.clock.advance(TELLS_MS)
    told = served.next()
    assert (told["method"], told["params"]) == (
        "notifications/progress",
        {"progressToken": "t", "progress": 1},
    )


def test_a_program_that_speaks_no_mcp_is_cut_off_and_its_calls_with_it(served: Served) -> None:
    served.server.turn = True
    served.call(1, task="a")
    served.asks()
    assert served.relay.stdin is not None
    served.relay.stdin.write(b"{ nonsense\n")

    def cut() -> bool:
        served.server.poll()
        return served.relay.poll() is not None

    until(cut, "the end of the relay")
    assert not served.server.waits and len(served.stage.told("fleet_over")) == 1


def line_to(served: Served) -> socket.socket:
    """A client without a relay between."""
    line, folder = socket.socket(socket.AF_UNIX), os.open(served.home, os.O_RDONLY)
    line.connect(f"/proc/self/fd/{folder}/{SOCKET}")
    os.close(folder)
    return line


def test_who_asks_and_is_gone_has_nothing_begun(served: Served) -> None:
    served.server.turn = True
    call = {"id": 1, "method": "tools/call", "params": {"name": "dispatch", "arguments": {"task": "a"}}}
    with line_to(served) as line:
        line.sendall(json.dumps(call).encode() + b"\n")
    served.server.poll()
    assert not served.server.waits and not served.stage.told("fleet_over")


def test_who_asks_and_never_listens_is_cut_off(served: Served) -> None:
    ping = json.dumps({"id": "x" * 10_000, "method": "ping"}).encode() + b"\n"
    with line_to(served) as line, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(2 * MOST_UNSENT // len(ping)):
            line.sendall(ping)
            served.server.poll()
