"""Parses a program's output: each line into events, in the format of PanCode's worker or of the program."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from node_agent.wire.other_runtimes import OTHER
from pancode.kernel.formatting import format_usd as in_dollars

if TYPE_CHECKING:
    from node_agent.runtimes.base import Activity, Parser

MOST_LINE = 16 << 20
LAST_MS = 4_000_000_000_000
"""The latest time in Unix milliseconds that is accepted, because a stream may contain anything."""
_TEXTS = ("id", "text", "stop", "why", "tool", "command", "path", "pattern", "diff")


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """One line of a worker's output. A field that is missing or of the wrong type is empty, 0 or False."""

    kind: str = ""
    number: int = 0
    """The turn's number; for a message: its number; for a retry: the status of the previous response."""
    words: int = 0
    """The number of the message that starts the turn; 0: the task."""
    by: str = "somebody"
    at_ms: int = 0
    """The time in Unix milliseconds."""
    ok: bool = False
    id: str = ""
    text: str = ""
    """For an ended call: the beginning of its output; for usage: the usage so far, as text. For a call of a
    fleet tool: its subject, and when it ends, the run or workflow that it has started."""
    stop: str = ""
    why: str = ""
    tool: str = ""
    command: str = ""
    path: str = ""
    pattern: str = ""
    diff: str = ""
    asks: bool = False
    """For a note: whether a question of the run itself says the same."""
    exit: int | None = None
    """For an ended call: the exit status of its command; None: not reported."""
    spent_ms: int = 0
    """For a thought: its duration in milliseconds."""


class WholeLines:
    """Joins pieces of bytes into lines. `rest`: the beginning of an unfinished line. A line longer than
    `most` bytes is dropped completely."""

    def __init__(self, most: int = MOST_LINE) -> None:
        self._most, self.rest = most, bytearray()
        self.behind = 0
        """How many of the bytes fed so far come after the line that was yielded last."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that end in these bytes, without their line ends."""
        *ends, last = data.split(b"\n")
        carried = 0 if ends else self.behind
        self.behind = len(data)
        for end in ends:
            self.rest += end
            self.behind -= len(end) + 1
            if len(self.rest) <= self._most:
                yield bytes(self.rest)
            self.rest.clear()
        self.behind = carried + len(last)
        if len(self.rest) <= self._most:
            self.rest += last


OURS = "native"
BEGINS = b'{"type": "'
"""The beginning of each line in the format of PanCode's own worker; no other format has a space there."""
TAKING_TURNS = frozenset(
    {OURS, "claude", "claude-sdk", "codex", "copilot", "gemini", "openai-agents", "opencode", "qwen"}
)
"""Runtimes that take turns, as in the node agent's table, copied so that an interface need not import it;
`qwen` is for chats of older versions."""
PLAIN = {"shell"}
"""Runtimes whose output is plain text, copied so that an interface knows it without a parser."""
Reading = Callable[[bytes], Iterable[WorkerEvent]]
"""Returns the events in one complete line."""


def reading_of(runtime: str, begins: bytes = b"") -> Reading | None:
    """Return the reader for this runtime's output, starting with `begins`; None: plain text or unknown."""
    if is_of_our_worker(runtime, begins):
        return lambda line: (event_of(line),)
    if runtime in PLAIN:
        return None
    # This import is here because it loads every program's parser.
    from node_agent.runtimes.registry import RUNTIMES

    known = RUNTIMES.get(runtime)
    if known is None or not known.capabilities.stream:
        return None
    return ProgramReading(known.parser, in_pieces=runtime == "gemini")


def is_of_our_worker(runtime: str, begins: bytes) -> bool:
    """Whether output that starts with `begins` is in the format of PanCode's own worker. In an interactive
    run other runtimes use this format too; runtimes that an owner configures use only this format."""
    takes = runtime in TAKING_TURNS and begins.startswith(BEGINS)
    return runtime == OURS or (runtime.startswith(OTHER) and runtime != OTHER) or takes


def event_of(line: bytes) -> WorkerEvent:
    """Return the event in this line; its kind is empty if there is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return WorkerEvent()
    if not isinstance(found, dict):
        return WorkerEvent()
    texts = {name: _text(found.get(name)) for name in _TEXTS}
    kind, by, at = _text(found.get("type")), _text(found.get("by")) or "somebody", _count(found.get("at"))
    if kind == "usage":
        texts["text"] = _format_usage(_count(found.get("input")), _count(found.get("output")))
    elif kind == "ran":
        texts["text"] = _text(found.get("output"))
    elif kind in ("asks_fleet", "fleet_over"):
        texts["text"] = _text(found.get("about" if kind == "asks_fleet" else "begun"))
    number = _count(found.get("status" if kind == "retrying" else "number"))
    words = _count(found.get("words"))
    at_ms, ok = at if at < LAST_MS else 0, found.get("ok") is True
    status, spent_ms = found.get("exit"), _count(found.get("ms"))
    status = status if type(status) is int and -255 <= status <= 255 else None
    return WorkerEvent(
        kind,
        number,
        words,
        by,
        at_ms,
        ok,
        **texts,
        asks=found.get("asks") is True,
        exit=status,
        spent_ms=spent_ms,
    )


class ProgramReading:
    """Parses lines of a program's own format with the node agent's parser, which is pure. `in_pieces`: the
    program splits one text into several events. Each attempt needs its own instance."""

    def __init__(self, parser: Callable[[Any], Parser], *, in_pieces: bool) -> None:
        from node_agent.runtimes.base import LaunchRequest
        from node_agent.wire.job import Limits
        from node_agent.wire.policy import Mode, Safety

        # A parser needs more facts of its job only if an attempt continues an earlier session.
        limits = Limits(wall_ms=1, idle_ms=1, output_bytes=1)
        request = LaunchRequest("", "", Mode.BUILD, Safety.AUTO_EDIT, False, "/", "/", limits)
        self._parser, self._in_pieces = parser(request), in_pieces

    def __call__(self, line: bytes) -> Iterator[WorkerEvent]:
        found = list(self._parser.feed(line + b"\n"))
        usage = self._parser.usage
        yield WorkerEvent(
            "usage", text=_format_usage(usage.input_tokens, usage.output_tokens, usage.cost_usd)
        )
        at_ms = read_time(line)
        yield from (replace(one, at_ms=at_ms) for one in map(self._make_event, found) if one is not None)

    def _make_event(self, activity: Activity) -> WorkerEvent | None:
        """Return the activity as an event; None for turn activities, which such a program does not have."""
        from node_agent.runtimes.base import (
            Denial,
            Ran,
            Retrying,
            SessionStarted,
            TextPiece,
            Thought,
            ToolCall,
        )

        match activity:
            case SessionStarted(model=model):
                return WorkerEvent("session", text=model or "")
            case TextPiece(text=text):
                return WorkerEvent("said", text=text if self._in_pieces or text[-1:] in "\n" else f"{text}\n")
            case Thought(text=text):
                return WorkerEvent("thought", text=text)
            case ToolCall(tool=tool, detail=detail):
                command = detail if activity.command else ""
                path = activity.paths[0] if activity.paths and not command else ""
                pattern = "" if command or path else detail
                of = f"{tool} {detail}"
                return WorkerEvent("called", id=of, tool=tool, command=command, path=path, pattern=pattern)
            case Ran(call=call, ok=ok, answer=answer, exit=status):
                called = self._make_event(call)
                assert called is not None
                return replace(
                    called, kind="ran", ok=ok, text=answer, diff=call.diff if ok else "", exit=status
                )
            case Denial(tool=tool, why=why, detail=detail):
                return WorkerEvent("denied", id=f"{tool} {detail}", tool=tool, command=detail, why=why)
            case Retrying(status=status, why=why):
                return WorkerEvent("retrying", number=status or 0, why=why)
        return None


_TIME = re.compile(rb'[{,]"timestamp":\s*(?:"([0-9T:.+Z-]{19,35})"|([0-9]{12,14})[,}])')
"""The time of a program's event. Quotes inside of a text are escaped, so that it does not match there."""


def read_time(line: bytes) -> int:
    """Return the time of a program's event in Unix milliseconds; 0 if it has none."""
    found = _TIME.search(line)
    if found is None:
        return 0
    try:
        iso = (found[1] or b"").decode("ascii")
        at_ms = int(found[2]) if not iso else round(datetime.fromisoformat(iso).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
    return at_ms if 0 < at_ms < LAST_MS else 0


def _format_usage(tokens_in: int, tokens_out: int, usd: object = None) -> str:
    """Return the usage as text; "" if nothing was used."""
    cost = f", {in_dollars(f'{usd:f}')}" if usd else ""
    return f"{tokens_in} tokens in, {tokens_out} out{cost}" if tokens_in or tokens_out or cost else ""


def _text(value: Any) -> str:
    """Return the value if it is a string, with `?` for lone surrogates; else ""."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _count(value: Any) -> int:
    """Return the value if it is a positive integer that JavaScript represents exactly, else 0."""
    return value if type(value) is int and 0 < value < 1 << 53 else 0
