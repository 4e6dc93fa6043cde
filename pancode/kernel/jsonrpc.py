"""Reads and writes JSON-RPC 2.0 on two streams: one message a line, each bounded, from several threads."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

Json = dict[str, Any]
MOST_LINE = 8 * 2**20
"""Characters of one message. A longer line is refused, and the rest of it is skipped."""
PARSE, REQUEST, METHOD, PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603


def standard_input() -> IO[str]:
    """Return standard input, read as UTF-8 whatever the locale says."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    return sys.stdin


class JsonRpcLines:
    """Messages of JSON-RPC on the two streams of one peer, one a line."""

    def __init__(self, source: IO[str], sink: IO[str]) -> None:
        self._source, self._sink = source, sink
        self._writing = threading.Lock()

    def messages(self) -> Iterator[Json]:
        """Yield each request, notification and answer until the input ends; anything else is refused."""
        while line := self._source.readline(MOST_LINE):
            if not line.endswith("\n") and len(line) >= MOST_LINE:
                while (rest := self._source.readline(MOST_LINE)) and not rest.endswith("\n"):
                    pass
                self.refuse(None, REQUEST, f"a message may have {MOST_LINE} characters at most")
            elif line.strip() and (found := self._message(line)) is not None:
                yield found

    def _message(self, line: str) -> Json | None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as wrong:
            self.refuse(None, PARSE, f"the line is not JSON: {str(wrong)[:200]}")
            return None
        if isinstance(message, dict):
            if isinstance(message.get("method"), str):
                # a request's parameters are an object; anything else counts as none
                params = message.get("params")
                return {**message, "params": params if isinstance(params, dict) else {}}
            if "result" in message or "error" in message:
                return message
        self.refuse(None, REQUEST, "a message is an object with a method")
        return None

    def send(self, message: Json) -> None:
        """Send a message as one line; the text is ASCII, so that no peer's decoding can break it."""
        line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")) + "\n"
        with self._writing:
            self._sink.write(line)
            self._sink.flush()

    def refuse(self, number: str | int | None, code: int, words: str, data: Json | None = None) -> None:
        """Answer with an error; `data` tells a program more about it."""
        error: Json = {"code": code, "message": words, **({"data": data} if data else {})}
        self.send({"id": number, "error": error})

    def close(self) -> None:
        """Let nothing more be written: Python aborts if it ends while a thread writes."""
        self._writing.acquire()
