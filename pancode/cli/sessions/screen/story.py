"""The conversation as blocks, made of the items of a stream: words of people, answers, calls. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pancode.cli.sessions.found import FoundLine
from pancode.cli.sessions.stream import OutputOver, ProgramOutput, StreamItem
from pancode.cli.transcript import TranscriptWriter
from pancode.plain import counted, safe, unhidden
from pancode.sessions.output import RESTS, WorkerEvent

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
class FoundBlock(TalkBlock):
    """What stands before the first words. `rows`: a name of GLYPHS, and a line."""

    rows: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, eq=False)
class PanelBlock(TalkBlock):
    """What a command says; no model gets it. `title`: the command."""

    title: str = ""


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

    def found(self, lines: Sequence[FoundLine]) -> None:
        rows = tuple((one.state, safe(one.text)) for one in lines)
        self._add(FoundBlock("\n".join(text for _, text in rows), rows))

    def panel(self, title: str, text: str) -> None:
        self._add(PanelBlock(_plain(text), safe(title)))

    def take(self, item: StreamItem) -> None:
        if isinstance(item, OutputOver):
            if self._story is not None:
                self._story[1].end()
        elif item.event is None:
            self._output(item)
        else:
            self._event(item.event)

    def _event(self, event: WorkerEvent) -> None:
        match event.kind:
            case "said":
                self._grow(AnswerBlock, event.text)
            case "turn" | "heard" if event.text or event.kind == "turn":
                self._person(event.by, _plain(event.text), event.at_ms)
            case "turn_end" if event.stop != "end_turn":
                state, why = "stopped" if event.stop == "cancelled" else "failed", event.why
                self.tell(f"turn {event.number} ended: {event.stop}{f': {why}' if why else ''}", state)
            case "rests":
                why = RESTS.get(event.why, event.why)
                self.tell(f"it rests: {why}; your next words go on with it", "waiting")
            case "called":
                self._called(event)
            case "ran" | "denied":
                self._ran(event)
            case "noted" | "compacted":
                self.tell(event.text)
            case "retrying":
                self.tell(f"its model failed, it asks again: {event.why}", "error")

    def _add(self, block: TalkBlock) -> None:
        self.blocks.append(block)
        self.changed.append(block)

    def _newest(self) -> TalkBlock | None:
        """The newest block of the stream: what was typed here meanwhile splits nothing."""
        for block in reversed(self.blocks):
            typed = isinstance(block, PanelBlock) or (isinstance(block, PersonBlock) and block.is_sent)
            if not typed:
                return block
        return None

    def _grow(self, kind: type[TalkBlock], text: str, *, anew: bool = False) -> None:
        """More of the newest block, or a new one."""
        last = self._newest()
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

    def _called(self, event: WorkerEvent) -> None:
        row = ToolRow(event.id, safe(event.tool or "?"), safe(event.about[:MOST_DETAIL]))
        last = self._newest()
        if not isinstance(last, CallsBlock):
            last = CallsBlock()
            self._add(last)
        last.rows.append(row)
        self._touch(last)

    def _ran(self, event: WorkerEvent) -> None:
        for block in reversed(self.blocks):
            for row in reversed(block.rows) if isinstance(block, CallsBlock) else ():
                if row.id == event.id and row.state == "running":
                    row.state = "verified" if event.ok else "failed"
                    if event.kind == "denied":
                        row.state, row.why = "stopped", f"not let through: {safe(event.why)}"
                    row.diff = tuple(map(safe, event.diff.splitlines()[:MOST_DIFF]))
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
