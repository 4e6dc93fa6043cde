"""Implements the Model Context Protocol on two streams: one JSON-RPC message per line, a thread per call.

It serves clients that begin with `initialize` (versions 2024-11-05 to 2025-11-25), and clients of version
2026-07-28, which send no handshake but `server/discover`. It loads only the standard library, because a
client would not have the tools in its first turn if the server started slowly.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from pancode.kernel.jsonrpc import INTERNAL, METHOD, PARAMS, REQUEST, JsonRpcLines

Json = dict[str, Any]
HANDSHAKES = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""The protocol versions with a handshake, newest first."""
DISCOVERED = "2026-07-28"
"""The protocol version without a handshake."""
ENDS_S = 5.0
"""Seconds that a call may still take after its client has disconnected."""
HAVE_ARGUMENTS = ("tools/call", "prompts/get")
LISTS_MS = 60_000
"""Milliseconds for which a client may cache a list."""


class ParamsError(Exception):
    """The error for a request with an unknown tool, resource or argument. Its text is sent to the client."""


class CancelledCall(Exception):
    """The error that ends a call because the client no longer waits for the answer."""


@dataclass(slots=True)
class CallProgress:
    """Reports a call's progress to the client, and ends the call if the client no longer waits."""

    send: Callable[[Json], None]
    token: str | int | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def report(self, done: float, words: str) -> None:
        """Send a progress notification if the client wants them. CancelledCall if it no longer waits."""
        if self.cancelled.is_set():
            raise CancelledCall
        if self.token is not None:
            params = {"progressToken": self.token, "progress": done, "message": words}
            self.send({"method": "notifications/progress", "params": params})

    def wait(self, seconds: float) -> None:
        """Sleep; raise CancelledCall as soon as the client no longer waits for the call."""
        if self.cancelled.wait(seconds):
            raise CancelledCall


@dataclass(frozen=True, slots=True)
class ServerOffer:
    """The functions of a server, which return plain JSON. `call` and `read` raise ParamsError for an unknown
    name or argument."""

    info: Json
    instructions: str
    tools: Callable[[], list[Json]]
    call: Callable[[str, Json, str, CallProgress], Json]
    """A function: (tool, arguments, name of the client, progress) -> result of `tools/call`."""
    templates: Callable[[], list[Json]]
    read: Callable[[str], Json]
    """A function: address of a resource -> result of `resources/read`."""
    prompts: Callable[[], list[Json]] = list
    prompt: Callable[[str, Json], Json] | None = None
    """A function: (name, arguments) -> result of `prompts/get`."""


class McpServer:
    """A server for one client on two streams, until the input ends."""

    def __init__(self, offer: ServerOffer, source: IO[str], sink: IO[str]) -> None:
        self._offer, self._lines = offer, JsonRpcLines(source, sink)
        self._calls_lock = threading.Lock()
        self._calls: dict[str | int, tuple[CallProgress, threading.Thread]] = {}
        self._client = "mcp"
        self._answers: dict[str, Callable[[Json], Json]] = {
            "initialize": self._initialize,
            "server/discover": self._discover,
            "ping": lambda params: {},
            "tools/list": lambda params: _make_list("tools", offer.tools()),
            "resources/list": lambda params: _make_list("resources", []),
            "resources/templates/list": lambda params: _make_list("resourceTemplates", offer.templates()),
            "resources/read": lambda params: {**_list_new_fields(), **offer.read(_text(params, "uri"))},
        }
        if (prompt := offer.prompt) is not None:
            self._answers |= {
                "prompts/list": lambda params: _make_list("prompts", offer.prompts()),
                "prompts/get": lambda params: {
                    "resultType": "complete",
                    **prompt(_text(params, "name"), params.get("arguments") or {}),
                },
            }

    def serve(self) -> None:
        """Answer requests until the input ends; then cancel waiting calls and give others a moment to end."""
        for message in self._lines.messages():
            if "method" in message:
                self._request(message["method"], message.get("id"), message["params"])
        with self._calls_lock:
            under_way = list(self._calls.values())
        for progress, _ in under_way:
            progress.cancelled.set()
        for _, thread in under_way:
            thread.join(ENDS_S)
        self._lines.close()

    def _request(self, method: str, number: Any, params: Json) -> None:
        if number is None:
            if method == "notifications/cancelled":
                self._cancel(params.get("requestId"))
            return  # other notifications need no action
        if not isinstance(number, str | int):
            self._lines.refuse(None, REQUEST, "id must be a string or a whole number")
        elif method in HAVE_ARGUMENTS and not isinstance(params.get("arguments") or {}, dict):
            self._lines.refuse(number, PARAMS, "arguments must be an object")
        elif method == "tools/call":
            self._begin_call(number, params)
        elif method in self._answers:
            self._answer(number, lambda: self._answers[method](params))
        else:
            self._lines.refuse(number, METHOD, f"method {method[:100]} not found")

    def _begin_call(self, number: str | int, params: Json) -> None:
        """Run the call in a separate thread, so that a waiting call does not delay others."""
        meta = params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        progress = CallProgress(self._lines.send, token if isinstance(token, str | int) else None)
        # The newer protocol version sends the client's name in each request.
        newer = meta.get("io.modelcontextprotocol/clientInfo") if isinstance(meta, dict) else None
        client = _client_name(newer) or self._client

        def call() -> None:
            try:
                self._answer(number, lambda: self._call_tool(params, client, progress))
            finally:
                with self._calls_lock:
                    self._calls.pop(number, None)

        thread = threading.Thread(target=call, name=f"call-{number}", daemon=True)
        with self._calls_lock:
            self._calls[number] = (progress, thread)
        thread.start()

    def _call_tool(self, params: Json, client: str, progress: CallProgress) -> Json:
        result = self._offer.call(_text(params, "name"), params.get("arguments") or {}, client, progress)
        return {"resultType": "complete", **result}

    def _cancel(self, number: Any) -> None:
        with self._calls_lock:
            found = self._calls.get(number) if isinstance(number, str | int) else None
        if found is not None:
            found[0].cancelled.set()

    def _answer(self, number: str | int, made: Callable[[], Json]) -> None:
        try:
            result = made()
        except CancelledCall:
            return  # the client no longer waits for an answer
        except ParamsError as wrong:
            self._lines.refuse(number, PARAMS, str(wrong))
        except Exception as wrong:
            sys.stderr.write(f"pancode mcp: {type(wrong).__name__}: {wrong}\n")
            self._lines.refuse(number, INTERNAL, f"{type(wrong).__name__}: {wrong}")
        else:
            self._lines.send({"id": number, "result": result})

    def _initialize(self, params: Json) -> Json:
        self._client = _client_name(params.get("clientInfo")) or self._client
        wanted = params.get("protocolVersion")
        version = wanted if wanted in HANDSHAKES else HANDSHAKES[0]
        return {"protocolVersion": version, **self._describe_server()}

    def _discover(self, params: Json) -> Json:
        return {"supportedVersions": [DISCOVERED], **self._describe_server(), **_list_new_fields()}

    def _describe_server(self) -> Json:
        offer = self._offer
        has: Json = {"tools": {}, "resources": {}, **({"prompts": {}} if offer.prompt else {})}
        return {"capabilities": has, "serverInfo": offer.info, "instructions": offer.instructions}


def _list_new_fields() -> Json:
    """Return the fields that the newer protocol version requires in an answer; older clients ignore them."""
    return {"resultType": "complete", "ttlMs": LISTS_MS, "cacheScope": "private"}


def _make_list(name: str, items: list[Json]) -> Json:
    return {name: items, **_list_new_fields()}


def _text(params: Json, name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise ParamsError(f"{name} must be a string")
    return value


def _client_name(info: Any) -> str:
    name = info.get("name") if isinstance(info, dict) else None
    return name[:60] if isinstance(name, str) and name.isprintable() else ""
