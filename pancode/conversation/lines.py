"""A conversation as lines of text: the agent's text, its calls, and messages with a mark and their author."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pancode.conversation.model import (
    HeardMessage,
    Output,
    Part,
    Said,
    SessionTalk,
    TalkCall,
    TalkNote,
    TalkThought,
    Turn,
)
from pancode.kernel.formatting import escape_line, format_seconds

OURS = "\u00bb "
"""The mark before messages of users and of PanCode. In other text, a mark that no visible character precedes
in its line gets a space before it."""
MARK = "  | "
"""The mark before each line of a tool's output."""
MOST_DETAIL, MOST_LINES = 160, 5
_UNSEEN = r"[^\w -~\xa0\u202f]"
"""A line break, or a character that may be invisible, such as a joiner or an accent without a letter."""
_IMITATED = re.compile(f"(?<={_UNSEEN}){OURS[0]}")
_NOTES = {"started": "* ", "retrying": "~ ", "over": "= ", "noted": "", "asks": "", "compacted": ""}
_RAW = "the run's output contains no readable events; to see it: pancode logs --raw RUN"


class LineStory:
    """A conversation as lines, which are passed to `show`."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._fresh = self._unseen = True
        self.mine: list[str] = []
        """Messages that were typed on this terminal and are already visible."""

    def take(self, part: Part) -> None:
        match part:
            case Said(text=text) | Output(text=text):
                self._say(text)  # The pieces form one text; they are not lines.
            case TalkThought(spent_ms=spent_ms):
                # the thought itself may be longer than all that the agent says
                spent = f" {format_seconds(spent_ms // 1000)}" if spent_ms >= 1000 else ""
                self._show_lines([f"~ thought{spent}"])
            case HeardMessage(is_fleets=True, by=by, text=text):
                self._tell(f"[{by}] {text}")
            case HeardMessage(by=by, text=text):
                if text.strip() in self.mine:
                    self.mine.remove(text.strip())
                else:
                    self._tell(f"{by}: {text}")
            case TalkCall():
                self._show_lines(_format_begun(part) if part.state == "running" else _format_ended(part))
            case Turn():
                self._show_lines(())
                if part.ending:
                    self._tell(f"[{part.ending}]")
            case TalkNote(kind="rests", text=text):
                self._tell(f"[{text}]")
            case TalkNote(kind=kind, text=text):
                self._show_lines([_RAW if kind == "unread" else f"{_NOTES[kind]}{text}"] if text else ())

    def _tell(self, text: str) -> None:
        """Show a line from a user or from PanCode, after the mark."""
        self._show_lines(())
        self._show(f"{OURS}{escape_line(text)}\n")

    def _show_lines(self, lines: Iterable[str]) -> None:
        """Show these lines, starting on a new line."""
        self._say("".join(("" if self._fresh else "\n", *(f"{line}\n" for line in lines))))

    def _say(self, text: str) -> None:
        """Show a piece of text from a model or a program; pieces may be cut anywhere."""
        if text:
            begins = " " if self._unseen and text.startswith(OURS[0]) else ""
            self._fresh = text.endswith(("\n", "\r"))
            self._unseen = re.fullmatch(_UNSEEN, text[-1]) is not None
            self._show(begins + _IMITATED.sub(f" {OURS[0]}", text))


class LogStory:
    """The output of one run as lines, by attempt."""

    def __init__(self, runtime: str, show: Callable[[str], None]) -> None:
        self._runtime, self._talk, self._story = runtime, SessionTalk(), LineStory(show)

    def write(self, attempt: str, data: bytes) -> None:
        for part in self._talk.feed("", attempt, data, self._runtime):
            self._story.take(part)

    def end(self) -> None:
        for part in self._talk.end():
            self._story.take(part)


def _format_begun(call: TalkCall) -> Iterable[str]:
    yield f"> {_format_name(call)}{f'  [{call.used}]' if call.used else ''}"


def _format_ended(call: TalkCall) -> Iterable[str]:
    """Yield the lines for an ended call: its output's start, and its name if several calls were running."""
    if call.state == "denied":
        yield f"! denied: {call.tool}{f' ({call.why})' if call.why else ''}"
        return
    spent_ms = call.until_ms - call.from_ms if call.from_ms and call.until_ms else 0
    took = f"  {format_seconds(spent_ms // 1000)}" if spent_ms >= 1000 else ""
    yield f"< {call.result}{took}{f'  {_format_name(call)}' if call.beside else ''}"
    lines = [line.rstrip() for line in (call.answer or call.diff).splitlines() if line.strip()]
    if call.exit and len(lines) > MOST_LINES:  # the end tells what has failed
        yield f"{MARK}..."
        lines = lines[-MOST_LINES:]
    yield from (f"{MARK}{_clip_text(line)}" for line in lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        yield f"{MARK}..."


def _format_name(call: TalkCall) -> str:
    return f"{call.tool} {_clip_text(' '.join(call.about.split()))}".rstrip()


def _clip_text(text: str) -> str:
    return f"{text[:MOST_DETAIL]}{'...' if len(text) > MOST_DETAIL else ''}"
