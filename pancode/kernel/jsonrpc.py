"""Reads and writes JSON-RPC 2.0 on two streams: one message per line, of limited size; thread-safe."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

Json = dict[str, Any]
MOST_LINE = 8 * 2**20
"""The most characters of one message. A longer line is refused, and the rest of it is skipped."""
PARSE, REQUEST, METHOD, PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603


def standard_input() -> IO[str]:
    """Return standard input, decoded as UTF-8 regardless of the locale."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    return sys.stdin


class JsonRpcLines:
    """A connection to one peer on two streams, with one JSON-RPC message per line."""

    def __init__(self, source: IO[str], sink: IO[str]) -> None:
        self._source, self._sink = source, sink
        self._writing = threading.Lock()

    def messages(self) -> Iterator[Json]:
        """Yield each request, notification and answer until the input ends; answer others with an error."""
        while line := self._source.readline(MOST_LINE):
            if not line.endswith("\n") and len(line) >= MOST_LINE:
                while (rest := self._source.readline(MOST_LINE)) and not rest.endswith("\n"):
                    pass
                self.refuse(None, REQUEST, f"a message may have at most {MOST_LINE} characters")
            elif line.strip() and (found := self._parse_message(line)) is not None:
                yield found

    def _parse_message(self, line: str) -> Json | None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as wrong:
            self.refuse(None, PARSE, f"the line is not JSON: {str(wrong)[:200]}")
            return None
        if isinstance(message, dict):
            if isinstance(message.get("method"), str):
                # the parameters of a request must be an object; any other value counts as no parameters
                params = message.get("params")
                return {**message, "params": params if isinstance(params, dict) else {}}
            if "result" in message or "error" in message:
                return message
        self.refuse(None, REQUEST, "a message must be an object with a method")
        return None

    def send(self, message: Json) -> None:
        """Send a message as one line of ASCII, so that any peer can decode it."""
        line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")) + "\n"
        with self._writing:
            self._sink.write(line)
            self._sink.flush()

    def refuse(self, number: str | int | None, code: int, words: str, data: Json | None = None) -> None:
        """Answer with an error; `data` gives programs more details."""
        error: Json = {"code": code, "message": words, **({"data": data} if data else {})}
        self.send({"id": number, "error": error})

    def close(self) -> None:
        """Block all further writes, because Python aborts if it exits while a thread writes."""
        self._writing.acquire()
