"""Serves the fleet's tools to an agent program as an MCP server, with the same requests as the native worker.

The program starts a relay that connects over a socket in the run's home. No token: any process that reaches
the socket can call what the model is offered; the coordinator judges each call as this run's.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node_agent.acp.relay import SOCKET
from node_agent.native.fleet import FleetChannel
from node_agent.native.judge import Denied
from node_agent.runtimes.lines import dict_of, text_of
from node_agent.wire.clock import Clock
from node_agent.wire.fleet import MOST_ARGUMENTS, MOST_OPEN_FLEET_CALLS, FleetTerms, is_fleet_tool_name

SERVER = "fleet"
"""The name of this MCP server; a program prefixes the names of the tools with it."""
VERSION = "2025-06-18"
"""The version of MCP that is used for a client that names none."""
NO_METHOD = -32601
MOST_PEERS, MOST_LINE, PIECE = 4, 8 * MOST_ARGUMENTS, 1 << 16
MOST_UNSENT = 1 << 22
TELLS_MS = 5_000
"""The interval at which a client is notified that its call continues, so that it does not give up."""
RELAY = Path(__file__).with_name("relay.py")


@dataclass(slots=True)
class _Peer:
    """The connection of one relay."""

    line: socket.socket
    heard: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class _OpenCall:
    """A call that waits for the fleet's answer. `told_ms`: when its client last heard that it continues."""

    peer: _Peer
    id: object
    token: object
    told_ms: int
    chars: int = 0


class FleetServer:
    """Offers the fleet's tools. It is polled and never waits. `turn`: whether a turn is in progress; if not,
    calls are refused."""

    def __init__(self, terms: FleetTerms, channel: FleetChannel, home: str, clock: Clock) -> None:
        self._terms, self._desk, self._home, self._clock = terms, channel, home, clock
        self._peers: list[_Peer] = []
        self._open: dict[int, _OpenCall] = {}
        self.turn = False
        # The socket is bound through the open folder, as its path may be too long.
        with suppress(OSError):
            os.unlink(os.path.join(home, SOCKET))
        self._listener = socket.socket(socket.AF_UNIX)
        folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._listener.bind(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)
        self._listener.listen(MOST_PEERS)
        self._listener.setblocking(False)

    def declared(self) -> dict[str, Any]:
        """Return the server's declaration for `session/new`."""
        args = ["-I", "-S", str(RELAY), self._home]
        return {"name": SERVER, "command": sys.executable, "args": args, "env": []}

    @property
    def waits(self) -> bool:
        """Whether any call waits for its answer."""
        return bool(self._open)

    def poll(self) -> None:
        """Read messages from the relays, and answer those that can be answered now."""
        with suppress(OSError):
            while len(self._peers) < MOST_PEERS:
                line, _ = self._listener.accept()
                line.setblocking(False)
                self._peers.append(_Peer(line))
        for peer in list(self._peers):
            self._hear(peer)
        for number in list(self._open):
            self._look(number)

    def over(self) -> None:
        """End the turn: calls that were started continue, but their answers are not awaited."""
        self.turn = False
        for number in list(self._open):
            self._end(number, "the turn is over", ok=False)

    def close(self) -> None:
        """Close all connections and the socket, at the end of the interactive run."""
        self.over()
        for peer in list(self._peers):
            self._drop(peer)
        self._listener.close()
        with suppress(OSError):
            os.unlink(os.path.join(self._home, SOCKET))

    # ---- a relay
    def _hear(self, peer: _Peer) -> None:
        try:
            while data := peer.line.recv(PIECE):
                peer.heard += data
                if len(peer.heard) > MOST_LINE:
                    return self._drop(peer)
            # The relay has ended and can receive no answer, so none of its calls is started.
            return self._drop(peer)
        except BlockingIOError:
            pass
        except OSError:
            return self._drop(peer)
        *whole, rest = bytes(peer.heard).split(b"\n")
        peer.heard[:] = rest
        for line in filter(bytes.strip, whole):
            if len(peer.unsent) > MOST_UNSENT:  # The relay sends requests, but does not read answers.
                return self._drop(peer)
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                return self._drop(peer)
            self._take(peer, dict_of(message))
        self._send(peer)

    def _drop(self, peer: _Peer) -> None:
        for number in [number for number, call in self._open.items() if call.peer is peer]:
            self._end(number, "", ok=False)
        peer.line.close()
        with suppress(ValueError):
            self._peers.remove(peer)

    def _send(self, peer: _Peer, **message: object) -> None:
        if message:
            peer.unsent += json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
        with suppress(OSError):  # The relay reads later, or has ended and is dropped at the next poll.
            while peer.unsent:
                del peer.unsent[: peer.line.send(peer.unsent[:PIECE])]

    # ---- messages
    def _take(self, peer: _Peer, message: Mapping[str, Any]) -> None:
        method, number, params = message.get("method"), message.get("id"), dict_of(message.get("params"))
        if method == "notifications/cancelled":
            given_up = [n for n, one in self._open.items() if one.id == params.get("requestId")]
            for one in given_up:
                self._end(one, "given up", ok=False)
        elif method == "tools/call" and number is not None:
            self._call(peer, number, params)
        elif number is not None and method is not None:
            self._send(peer, id=number, **self._answer(text_of(method), params))

    def _answer(self, method: str, params: Mapping[str, Any]) -> dict[str, object]:
        match method:
            case "initialize":
                version = text_of(params.get("protocolVersion")) or VERSION
                info = {"name": "pancode", "version": "1"}
                answer = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
                return {"result": answer}
            case "ping":
                return {"result": {}}
            case "tools/list":
                return {"result": {"tools": [self._describe_tool(one) for one in self._terms.tools]}}
            case _:
                return {"error": {"code": NO_METHOD, "message": "method not found"}}

    def _describe_tool(self, tool: Any) -> dict[str, Any]:
        schema = json.loads(tool.parameters)
        return {"name": tool.name, "description": tool.description, "inputSchema": schema}

    # ---- a call
    def _call(self, peer: _Peer, number: object, params: Mapping[str, Any]) -> None:
        """Start a call, even of a tool not offered: the coordinator refuses and audits such a call."""
        name, why = text_of(params.get("name")), ""
        if not is_fleet_tool_name(name):
            why = f"{name[:100]} is not a tool of this run"
        elif not self.turn:
            why = "no turn is in progress, so no call is made"
        elif len(self._open) >= MOST_OPEN_FLEET_CALLS:
            why = f"{MOST_OPEN_FLEET_CALLS} calls wait for an answer; try again after one was answered"
        try:
            call = 0 if why else self._desk.begin(name, dict_of(params.get("arguments")))
        except Denied as denied:
            call, why = 0, str(denied)
        if why:
            return self._send(peer, id=number, result=_make_result(why, ok=False))
        token = dict_of(params.get("_meta")).get("progressToken")
        self._open[call] = _OpenCall(peer, number, token, self._clock.mono_ms())

    def _look(self, number: int) -> None:
        call, now = self._open[number], self._clock.mono_ms()
        answer = self._desk.answer(number)
        if answer is not None:
            return self._end(number, answer.text, ok=answer.ok)
        if call.token is not None and now - call.told_ms >= TELLS_MS:
            call.told_ms, call.chars = now, call.chars + 1
            params = {"progressToken": call.token, "progress": call.chars}
            self._send(call.peer, method="notifications/progress", params=params)

    def _end(self, number: int, text: str, *, ok: bool) -> None:
        call = self._open.pop(number)
        self._desk.over(number)
        self._send(call.peer, id=call.id, result=_make_result(text, ok=ok))


def _make_result(text: str, *, ok: bool) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": not ok}
