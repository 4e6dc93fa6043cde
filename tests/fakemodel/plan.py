"""One turn to send: text, tool calls, pacing and mid-stream faults."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .replies import Usage
from .wires import Req

if TYPE_CHECKING:
    from .handler import Handler

_NUMBER = itertools.count(1)


class StreamError(Exception):
    """The script wants an error event in the middle of this stream."""


class Plan:
    """What to send for one turn; `text` and `calls` are already resolved for this CLI."""

    def __init__(self, h: Handler, req: Req, turn: dict, text: str, calls: list[dict]) -> None:
        self.h = h
        self.turn = turn
        self.text = text
        self.reasoning: str = turn.get("reasoning", "")
        self.calls = calls
        self.fault: dict = {}
        self.id = f"{int(time.time() * 1000):012x}{next(_NUMBER):08x}"
        args = sum(len(json.dumps(c["arguments"])) for c in calls)
        self.usage = Usage(turn, len(h.raw), len(text) + len(self.reasoning) + args)
        self.finish: str = turn.get("finish", "tool" if calls else "stop")
        self.delay = float(turn.get("chunk_delay", 0))
        self.size = int(turn.get("chunk_chars", 12))
        self.sent = 0

    def pieces(self, s: str) -> Iterator[str]:
        """The text in the turn's chunk size, each at its time, which `${now}` names."""
        for i in range(0, len(s), self.size):
            self.step()
            yield s[i : i + self.size].replace("${now}", f"{time.time():.3f}")

    def step(self) -> None:
        """Called before each streamed piece: pacing and mid-stream faults."""
        if self.delay:
            self.h.pause(self.delay)
        if self.sent >= 1:
            while self.fault.get("hold") and not os.path.exists(self.fault["hold"]):
                self.h.pause(0.05)
            if self.fault.get("disconnect") == "mid":
                self.h.kill("disconnect mid-stream")
            if self.fault.get("stream_error"):
                raise StreamError
        self.sent += 1

    def before_end(self) -> None:
        """Called before the final event: the last moment for a fault."""
        if self.fault.get("disconnect") in ("mid", "end"):
            self.h.kill("disconnect before the final event")
        if self.fault.get("stream_error"):
            raise StreamError

    def stream_error(self) -> dict:
        """The script's own words for the error event (`type`, `message`), if it has any."""
        e = self.fault.get("stream_error")
        return e if isinstance(e, dict) else {}

    def call_id(self, prefix: str, i: int) -> str:
        return f"{prefix}{self.id}{i:02d}"

    def seconds(self) -> float:
        return time.time() - self.h.t0


def args_text(call: dict) -> str:
    """A call's arguments as the JSON text that OpenAI's wires carry."""
    a = call["arguments"]
    return a if isinstance(a, str) else json.dumps(a)
