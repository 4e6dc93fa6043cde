"""The conversation as blocks for a screen: users' messages, answers, calls, PanCode's texts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pancode.conversation.model import HeardMessage, Output, Part, Said, TalkCall, TalkNote, Turn
from pancode.kernel.formatting import count_noun, escape_line, reveal_invisible
from pancode.sessions.commands.preflight import FoundLine

MOST_DETAIL, MOST_DIFF = 400, 400
"""How many characters of a call's subject, and how many lines of its diff, are shown."""
MOST_OUTPUT = 16_000
"""The maximum number of characters in a block of output. A growing block is redrawn, so more output starts a
new one."""

_TOLD = {
    **dict.fromkeys(("started", "noted", "compacted"), "not begun"),
    **{"retrying": "error", "rests": "waiting", "unread": "error"},
}
"""The kinds of a program's notes that are shown, with the name of their glyph in GLYPHS."""


@dataclass(slots=True, eq=False)
class TalkBlock:
    """One block of the conversation. `text` has no invisible characters."""

    text: str = ""


@dataclass(slots=True, eq=False)
class UserBlock(TalkBlock):
    """A user's messages. `is_sent`: they were sent and wait for their turn."""

    by: str = ""
    at_ms: int = 0
    is_sent: bool = False


@dataclass(slots=True, eq=False)
class AnswerBlock(TalkBlock):
    """The agent's answer, as Markdown."""


@dataclass(slots=True, eq=False)
class OutputBlock(TalkBlock):
    """The raw output of a program that does not take turns."""


@dataclass(slots=True, eq=False)
class TellBlock(TalkBlock):
    """A text from PanCode itself. `state`: a key of GLYPHS."""

    state: str = "not begun"


@dataclass(slots=True, eq=False)
class FoundBlock(TalkBlock):
    """The lines before the first message. `rows`: pairs of a key of GLYPHS and a line."""

    rows: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, eq=False)
class PanelBlock(TalkBlock):
    """The output of a command, which no model gets, or a message of the fleet. `title`: the command.

    `is_typed`: a user typed the command here, so it does not split the stream's text.
    """

    title: str = ""
    is_typed: bool = True


@dataclass(slots=True, eq=False)
class CallsBlock(TalkBlock):
    """Consecutive tool calls without a message between them."""

    calls: list[TalkCall] = field(default_factory=list)
    is_open: bool = False

    @property
    def title(self) -> str:
        """Return all calls on one line, which names the last one while it is running."""
        bad = sum(call.state in ("failed", "denied") for call in self.calls)
        more = f", {bad} failed or denied" if bad else ""
        if len(self.calls) == 1:
            return call_line(self.calls[0])
        return f"{count_noun(len(self.calls), 'call')}{more}  {call_line(self.calls[-1])}"


class TalkStory:
    """The blocks of a conversation. `changed`: blocks to redraw, a list that the screen empties."""

    def __init__(self) -> None:
        self.blocks: list[TalkBlock] = []
        self.changed: list[TalkBlock] = []

    def sent(self, text: str, by: str) -> None:
        """Add a message that was typed here and is being sent."""
        self._add(UserBlock(_show_invisible(text), by, is_sent=True))

    def unsent(self, text: str) -> None:
        """Remove a message that did not arrive and is back in the field."""
        for block in reversed(self.blocks):
            if isinstance(block, UserBlock) and block.is_sent and block.text == _show_invisible(text):
                self.blocks.remove(block)
                return

    def tell(self, text: str, state: str = "not begun") -> None:
        """Add a line from PanCode itself."""
        self._add(TellBlock(escape_line(text), state))

    def found(self, lines: Sequence[FoundLine]) -> None:
        rows = tuple((one.state, escape_line(one.text)) for one in lines)
        self._add(FoundBlock("\n".join(text for _, text in rows), rows))

    def panel(self, title: str, text: str) -> None:
        self._add(PanelBlock(_show_invisible(text), escape_line(title)))

    def take(self, part: Part) -> None:
        match part:
            case Said(text=text):
                self._extend_block(AnswerBlock, text)
            case Output(text=text):
                # A block ends at the end of a line, unless that line is too long.
                for line in text.splitlines(keepends=True):
                    for at in range(0, len(line), MOST_OUTPUT):
                        last = self.blocks[-1] if self.blocks else None
                        whole = isinstance(last, OutputBlock) and (
                            len(last.text) >= MOST_OUTPUT * (1 if last.text.endswith("\n") else 2)
                        )
                        self._extend_block(OutputBlock, line[at : at + MOST_OUTPUT], anew=whole)
            case HeardMessage(is_fleets=True):
                words = part.text.partition("]\n")[2] or part.text  # The first line is only for the model.
                self._add(PanelBlock(_show_invisible(words), escape_line(part.by), is_typed=False))
            case HeardMessage():
                text = _show_invisible(part.text)
                for block in self.blocks:
                    if isinstance(block, UserBlock) and block.is_sent and block.text.strip() == text.strip():
                        self.blocks.remove(block)  # Messages are shown at the place where the agent got them.
                        break
                self._add(UserBlock(text, escape_line(part.by), part.at_ms))
            case TalkCall(number=number) if number:
                self._call(part)
            case Turn() if part.ending:
                self.tell(part.ending, "stopped" if part.stop == "cancelled" else "failed")
            case TalkNote(kind=kind, text=text) if kind in _TOLD:
                self.tell(text, _TOLD[kind])

    def _add(self, block: TalkBlock) -> None:
        self.blocks.append(block)
        self.changed.append(block)

    def _find_newest(self) -> TalkBlock | None:
        """Return the stream's newest block; skip messages and commands typed here: they do not split it."""
        for block in reversed(self.blocks):
            match block:
                case PanelBlock(is_typed=True) | UserBlock(is_sent=True):
                    continue
                case _:
                    return block
        return None

    def _extend_block(self, kind: type[TalkBlock], text: str, *, anew: bool = False) -> None:
        """Add the text to the newest block, or to a new one if that block is of another kind or `anew`."""
        last = self._find_newest()
        if anew or type(last) is not kind:
            text = text.lstrip("\n")
            if not text.strip():
                return
            last = kind()
            self._add(last)
        last.text += _show_invisible(text)
        self._touch(last)

    def _touch(self, block: TalkBlock) -> None:
        if block not in self.changed:
            self.changed.append(block)

    def _call(self, call: TalkCall) -> None:
        if call.state != "running":
            blocks = (one for one in reversed(self.blocks) if isinstance(one, CallsBlock))
            return self._touch(next(one for one in blocks if call in one.calls))
        last = self._find_newest()
        if not isinstance(last, CallsBlock):
            last = CallsBlock()
            self._add(last)
        last.calls.append(call)
        self._touch(last)
        return None


def call_line(call: TalkCall) -> str:
    why = f": denied: {escape_line(call.why)}" if call.state == "denied" else ""
    return escape_line(f"{call.tool or '?'} {call.about[:MOST_DETAIL]}".strip()) + why


def result_of(call: TalkCall) -> list[str]:
    """Return the lines that a call changed or that its command printed, as far as they are known."""
    output = call.diff or (call.answer if call.command else "")
    return [escape_line(line) for line in output.splitlines()[:MOST_DIFF]]


def plain_of(block: TalkBlock) -> str:
    """Return the block's text, for searching and copying."""
    if isinstance(block, CallsBlock):
        return "\n".join(part for call in block.calls for part in (call_line(call), *result_of(call)))
    return block.text


def _show_invisible(text: str) -> str:
    """Return the text with invisible characters replaced by their names."""
    return reveal_invisible(text.replace("\r\n", "\n"))
