"""A session's stream as lines of text: the agent's words, its calls, and who said what behind a mark."""

from __future__ import annotations

import re
from collections.abc import Callable

from pancode.cli.sessions.stream import OutputOver, ProgramOutput, StreamItem
from pancode.cli.terminal import safe
from pancode.cli.transcript import TranscriptWriter
from pancode.sessions.output import RESTS, WorkerEvent

OURS = "\u00bb "
"""The mark before words of people and of PanCode. A line of a model that begins with it is indented."""
_IMITATED = re.compile(rf"([\r\n]){OURS[0]}")


class LineStory:
    """Hands the lines to `show`."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._of: tuple[str, TranscriptWriter] | None = None
        self._fresh = True
        self.mine: list[str] = []
        """Words that stand on this terminal already, as they were typed there."""

    def take(self, item: StreamItem) -> None:
        if isinstance(item, OutputOver):
            if self._of is not None:
                self._of[1].end()
            self._line()
        elif item.event is None or not self._told(item.event):
            self._output(item)

    def _told(self, event: WorkerEvent) -> bool:
        """Whether it is text of the agent, a turn, or words of a person."""
        match event.kind:
            case "said":
                self._say(event.text)  # pieces of one text, not lines
            case "turn" | "heard":
                if event.text.strip() in self.mine:
                    self.mine.remove(event.text.strip())
                elif event.text or event.kind == "turn":
                    self._tell(f"{event.by}: {event.text}")
            case "turn_end":
                self._line()
                if event.stop != "end_turn":
                    why = f": {event.why}" if event.why else ""
                    self._tell(f"[turn {event.number} ended: {event.stop}{why}]")
            case "rests":
                self._tell(f"[it rests: {RESTS.get(event.why, event.why)}; your next words go on with it]")
            case _:
                return False
        return True

    def _output(self, item: ProgramOutput) -> None:
        """As `runs logs` shows it."""
        if self._of is None or self._of[0] != item.run:
            self._of = (item.run, TranscriptWriter(item.runtime, self._say))
        if item.event is not None:
            self._line()
        self._of[1].write(item.attempt, item.data)

    def _tell(self, text: str) -> None:
        """A line of a person or of PanCode, behind the mark."""
        self._line()
        self._fresh = True
        self._show(f"{OURS}{safe(text)}\n")

    def _line(self) -> None:
        """What comes next begins a line."""
        if not self._fresh:
            self._say("\n")

    def _say(self, text: str) -> None:
        """Text of a model or a program, in pieces that are cut anywhere."""
        if text:
            begins = " " if self._fresh and text.startswith(OURS[0]) else ""
            self._fresh = text.endswith(("\n", "\r"))
            self._show(begins + _IMITATED.sub(rf"\1 {OURS[0]}", text))
