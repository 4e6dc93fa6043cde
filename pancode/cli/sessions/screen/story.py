"""The conversation as blocks, made of the items of a stream: words of people, answers, calls. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pancode.cli.sessions.stream import (
    AgentText,
    OutputOver,
    PersonText,
    ProgramOutput,
    Resting,
    StreamItem,
    TurnStopped,
)
from pancode.cli.transcript import TranscriptWriter
from pancode.plain import counted, safe, unhidden

MOST_DETAIL, MOST_DIFF = 400, 400
"""Characters of what a call is about, and lines of its change."""
MOST_OUTPUT = 16_000
"""Characters of a block of output, which is drawn anew whenever it grows; what follows is another one."""


@dataclass(slots=True, eq=False)
class TalkBlock:
    """One thing in the conversation. `text` has no character that a reader does not see."""

    text: str = ""


@dataclass(slots=True, eq=False)
class PersonBlock(TalkBlock):
    """Words of a person. `is_sent`: they wait for their turn."""

    by: str = ""
    at_ms: int = 0
    is_sent: bool = False


@dataclass(slots=True, eq=False)
class AnswerBlock(TalkBlock):
    """What the agent says, as Markdown."""


@dataclass(slots=True, eq=False)
class OutputBlock(TalkBlock):
    """The story of a program that takes no turns, as it is."""


@dataclass(slots=True, eq=False)
class TellBlock(TalkBlock):
    """What PanCode says. `state`: a name of GLYPHS."""

    state: str = "not begun"


@dataclass(slots=True, eq=False)
class ToolRow:
    """One call. `state`: a name of GLYPHS; `diff`: the lines that it changed, as far as they are told."""

    id: str
    tool: str
    about: str
    state: str = "running"
    why: str = ""
    diff: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        why = f": {self.why}" if self.why else ""
        return f"{self.tool} {self.about}".strip() + why


@dataclass(slots=True, eq=False)
class CallsBlock(TalkBlock):
    """Calls that follow each other."""

    rows: list[ToolRow] = field(default_factory=list)
    is_open: bool = False

    @property
    def title(self) -> str:
        """All of them in one line; the last one is named, as it is at work."""
        bad = sum(row.state in ("failed", "stopped") for row in self.rows)
        more = f", {bad} did not go well" if bad else ""
        if len(self.rows) == 1:
            return self.rows[0].line
        return f"{counted(len(self.rows), 'call')}{more}  {self.rows[-1].line}"

    @property
    def state(self) -> str:
        return self.rows[-1].state


class TalkStory:
    """Grows by what is taken. `changed` has the blocks that a screen must draw; it empties the set."""

    def __init__(self) -> None:
        self.blocks: list[TalkBlock] = []
        self.changed: list[TalkBlock] = []
        self._story: tuple[str, TranscriptWriter] | None = None

    def sent(self, text: str, by: str) -> None:
        """Words that were typed here and are on their way."""
        self._add(PersonBlock(_plain(text), by, is_sent=True))

    def unsent(self, text: str) -> None:
        """Words that did not arrive: they are in the field again."""
        for block in reversed(self.blocks):
            if isinstance(block, PersonBlock) and block.is_sent and block.text == _plain(text):
                self.blocks.remove(block)
                return

    def tell(self, text: str, state: str = "not begun") -> None:
        """A line of PanCode's own."""
        self._add(TellBlock(safe(text), state))

    def take(self, item: StreamItem) -> None:
        match item:
            case AgentText(text):
                self._grow(AnswerBlock, text)
            case PersonText(by, text, at_ms):
                self._person(by, _plain(text), at_ms)
            case TurnStopped(number, stop, why):
                self._stopped(number, stop, why)
            case Resting(why):
                self.tell(f"it rests: {why}; your next words go on with it", "waiting")
            case ProgramOutput(event=None):
                self._output(item)
            case ProgramOutput(event=dict() as event):
                self._event(event)
            case OutputOver():
                if self._story is not None:
                    self._story[1].end()

    def _add(self, block: TalkBlock) -> None:
        self.blocks.append(block)
        self.changed.append(block)

    def _grow(self, kind: type[TalkBlock], text: str, *, anew: bool = False) -> None:
        """More of the newest block, or a new one."""
        last = self.blocks[-1] if self.blocks else None
        if anew or type(last) is not kind:
            text = text.lstrip("\n")
            if not text.strip():
                return
            last = kind()
            self._add(last)
        last.text += _plain(text)
        self._touch(last)

    def _touch(self, block: TalkBlock) -> None:
        if block not in self.changed:
            self.changed.append(block)

    def _person(self, by: str, text: str, at_ms: int) -> None:
        for block in self.blocks:
            if isinstance(block, PersonBlock) and block.is_sent and block.text.strip() == text.strip():
                self.blocks.remove(block)  # they stand where the agent got them
                break
        self._add(PersonBlock(text, safe(by), at_ms))

    def _stopped(self, number: int, stop: str, why: str) -> None:
        if stop != "end_turn":
            state = "stopped" if stop == "cancelled" else "failed"
            self.tell(f"turn {number} ended: {stop}{f': {why}' if why else ''}", state)

    def _output(self, item: ProgramOutput) -> None:
        if self._story is None or self._story[0] != item.run:
            self._story = (item.run, TranscriptWriter(item.runtime, self._pour))
        self._story[1].write(item.attempt, item.data)

    def _pour(self, text: str) -> None:
        """Output. A block ends with a line, if that is not endless."""
        for line in text.splitlines(keepends=True):
            for at in range(0, len(line), MOST_OUTPUT):
                last = self.blocks[-1] if self.blocks else None
                whole = isinstance(last, OutputBlock) and (
                    len(last.text) >= MOST_OUTPUT * (1 if last.text.endswith("\n") else 2)
                )
                self._grow(OutputBlock, line[at : at + MOST_OUTPUT], anew=whole)

    def _event(self, event: dict[str, Any]) -> None:
        """A line of a worker of ours that is neither text nor turn."""
        match event.get("type"):
            case "called":
                self._called(event)
            case "ran" | "denied":
                self._ran(event)
            case "noted" | "compacted":
                self.tell(_words(event, "text"))
            case "retrying":
                self.tell(f"its model failed, it asks again: {_words(event, 'why')}", "error")

    def _called(self, event: dict[str, Any]) -> None:
        about = _words(event, "command") or _words(event, "path") or _words(event, "pattern")
        row = ToolRow(_words(event, "id"), safe(_words(event, "tool") or "?"), safe(about[:MOST_DETAIL]))
        last = self.blocks[-1] if self.blocks else None
        if not isinstance(last, CallsBlock):
            last = CallsBlock()
            self._add(last)
        last.rows.append(row)
        self._touch(last)

    def _ran(self, event: dict[str, Any]) -> None:
        name = _words(event, "id")
        for block in reversed(self.blocks):
            for row in reversed(block.rows) if isinstance(block, CallsBlock) else ():
                if row.id == name and row.state == "running":
                    row.state = "verified" if event.get("ok") is True else "failed"
                    if event.get("type") == "denied":
                        row.state, row.why = "stopped", f"not let through: {safe(_words(event, 'why'))}"
                    row.diff = tuple(map(safe, _words(event, "diff").splitlines()[:MOST_DIFF]))
                    self._touch(block)
                    return


def plain_of(block: TalkBlock) -> str:
    """The block's words, to be found and copied."""
    if isinstance(block, CallsBlock):
        return "\n".join(part for row in block.rows for part in (row.line, *row.diff))
    return block.text


def _plain(text: str) -> str:
    """Lines of text in which each character that a reader does not see is named."""
    return unhidden(text.replace("\r\n", "\n"))


def _words(event: dict[str, Any], name: str) -> str:
    """A text of an event, with what UTF-8 cannot have made plain."""
    value = event.get(name)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
