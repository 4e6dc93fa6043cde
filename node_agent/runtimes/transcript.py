"""Turns a runtime's own output into a readable story: what the agent says and calls, and its cost so far."""

from __future__ import annotations

from collections.abc import Iterator

from node_agent.runtimes.base import (
    Activity,
    Denial,
    FleetCalled,
    FleetOver,
    LaunchRequest,
    OfTurns,
    Parser,
    Ran,
    Rested,
    Retrying,
    SessionStarted,
    TextPiece,
    ToolCall,
    TurnBegan,
    TurnEnded,
    UsageGrew,
    WordsTaken,
)
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.endpoint import is_other
from node_agent.wire.order import Limits
from node_agent.wire.policy import Mode, Safety
from node_agent.wire.receipt import Usage

OURS = "native"
MOST_OPEN = 50
MOST_DETAIL = 160
MOST_LINES = 5
MARK = "  | "
"""The mark before each line of a tool's answer."""


class Transcript:
    """The transcript of one attempt. Feed it the stored output from byte 0 on, cut anywhere; it never
    raises."""

    def __init__(self, parser: Parser, in_pieces: bool = False) -> None:
        """`in_pieces`: the program says a text in several events."""
        self._parser, self._in_pieces = parser, in_pieces
        self._open: list[ToolCall] = []
        self._last_usage = Usage()
        self._in_text = False

    def feed(self, data: bytes) -> str:
        """The entries for these bytes: whole lines, or pieces of the agent's words."""
        # Line by line: what was used so far is told as of each event, however the bytes were cut.
        lines = (self._parser.feed(line) for line in data.splitlines(keepends=True))
        return "".join(part for line in lines for activity in line for part in self._parts(activity))

    def end(self) -> str:
        """The rest: a line that is not ended, and what it all came to."""
        usage = self._parser.usage
        return f"{self._line_end()}{f'= {in_words(usage)}{chr(10)}' if _consumed(usage) else ''}"

    def _parts(self, activity: Activity) -> Iterator[str]:
        if isinstance(activity, UsageGrew | FleetCalled | FleetOver):
            return  # shown with the next call; and the call itself is told beside
        if isinstance(activity, TextPiece):
            yield self._text(activity.text)
            return
        yield self._line_end()
        yield f"{self._line(activity)}\n"

    def _line(self, activity: SessionStarted | ToolCall | Ran | Denial | Retrying | OfTurns) -> str:
        match activity:
            case SessionStarted():
                return f"* started{f', model {activity.model}' if activity.model else ''}"
            case ToolCall():
                self._open = [*self._open[-MOST_OPEN:], activity]
                return f"> {_named(activity)}{self._cost()}"
            case Ran():
                return self._ended(activity)
            case Denial():
                return f"! not let through: {activity.tool}{f' ({activity.why})' if activity.why else ''}"
            case TurnBegan(said=said) | WordsTaken(said=said):
                return f"+ {said.by or 'a person'}: {said.text}".replace("\n", f"\n{MARK}")
            case TurnEnded(stop=stop, why=why):
                return f"- the turn has ended: {stop}{f', {why}' if why else ''}"
            case Rested(why=reason):
                return f"* it rests: {reason}"
            case Retrying():
                status = f" {activity.status}" if activity.status else ""
                return (
                    f"~ its model failed{status}, it asks again{f': {activity.why}' if activity.why else ''}"
                )

    def _ended(self, ran: Ran) -> str:
        """The name of the call, only where several were open."""
        several = len(self._open) > 1
        self._open = [call for call in self._open if call != ran.call]
        head = f"< {'ok' if ran.ok else 'failed'}{f'  {_named(ran.call)}' if several else ''}"
        return "\n".join((head, *_answer(ran.answer)))

    def _text(self, text: str) -> str:
        if not text:
            return ""
        if not self._in_pieces and not text.endswith("\n"):
            text += "\n"
        self._in_text = not text.endswith("\n")
        return text

    def _line_end(self) -> str:
        ends, self._in_text = "\n" if self._in_text else "", False
        return ends

    def _cost(self) -> str:
        """The cost so far, if it has grown since it was last said."""
        usage = self._parser.usage
        if not _consumed(usage) or usage == self._last_usage:
            return ""
        self._last_usage = usage
        return f"  [{in_words(usage)}]"


def is_of_our_worker(runtime: str, begins: bytes) -> bool:
    """Check whether output of that runtime that begins so is in the form of our own worker: in a sitting
    others have it, too, those of an owner's choice only that. No other form has a space there."""
    known = RUNTIMES.get(runtime)
    return (
        runtime == OURS
        or is_other(runtime)
        or (known is not None and known.capabilities.takes_turns and begins.startswith(b'{"type": "'))
    )


def transcript_of(runtime: str, begins: bytes = b"") -> Transcript | None:
    """The transcript of one attempt of that runtime; None when its output is plain text, or the runtime is
    not known."""
    runtime = OURS if is_of_our_worker(runtime, begins) else runtime
    known = RUNTIMES.get(runtime)
    if known is None or not known.capabilities.stream:
        return None
    return Transcript(known.parser(_REQUEST), runtime in _IN_PIECES)


def in_words(usage: Usage) -> str:
    cost = f", ${usage.cost_usd:f}" if usage.cost_usd else ""
    return f"{usage.input_tokens} tokens in, {usage.output_tokens} out{cost}"


def _consumed(usage: Usage) -> bool:
    return bool(usage.input_tokens or usage.output_tokens or usage.cost_usd)


def _answer(text: str) -> list[str]:
    """The start of a tool's answer, each line behind MARK."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    shown = [
        f"{MARK}{line[:MOST_DETAIL]}{'...' if len(line) > MOST_DETAIL else ''}" for line in lines[:MOST_LINES]
    ]
    return [*shown, f"{MARK}..."] if len(lines) > MOST_LINES else shown


def _named(call: ToolCall) -> str:
    detail = " ".join(call.detail.split())
    return f"{call.tool} {detail[:MOST_DETAIL]}{'...' if len(detail) > MOST_DETAIL else ''}".rstrip()


_IN_PIECES = ("gemini", "native")
_REQUEST = LaunchRequest(
    task="",
    prompt="",
    mode=Mode.BUILD,
    safety=Safety.AUTO_EDIT,
    read_only=False,
    workspace="/",
    home="/",
    limits=Limits(wall_ms=1, idle_ms=1, output_bytes=1),
)
"""A parser asks for more of its order only where an attempt goes on with an earlier session."""
