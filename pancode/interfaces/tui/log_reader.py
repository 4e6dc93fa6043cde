"""Reads a run's log beside the screen, from where it was, until the view is left."""

from __future__ import annotations

import threading
from functools import partial

from pancode.conversation.lines import LogStory
from pancode.interfaces.client.client import Client, path_of
from pancode.interfaces.tui.page import Line
from pancode.interfaces.tui.pages.texts import strip_escapes
from pancode.kernel.errors import ApiError, PancodeError

LOOK_S = 0.5
MOST = 50_000
"""How many lines are kept; the oldest are dropped."""
STREAMS = (("out", ""), ("err", "yellow"))


class LogReader:
    """Reads the log of one run, for one view. `take` returns the lines that have come since the last call."""

    def __init__(self, client: Client, run: str, look_s: float = LOOK_S) -> None:
        self._client, self._run, self._look_s = client, run, look_s
        self._over, self._lock = threading.Event(), threading.Lock()
        self._lines: list[Line] = []
        self._places = {name: ("", 0) for name, _ in STREAMS}
        self._ended: set[str] = set()
        self._rests: dict[str, str] = {}
        self._stories: dict[str, LogStory] = {}
        self.state = "reading"

    def stop(self) -> None:
        self._over.set()

    def take(self) -> list[Line]:
        with self._lock:
            lines, self._lines = self._lines, []
        return lines

    def read(self) -> None:
        """Read until the log has ended or the view is closed; while the coordinator is away, wait."""
        while not self._over.is_set():
            try:
                if not self._stories:
                    self._begin()
                if self._look():
                    continue
            except ApiError as error:
                self._say(f"{error}. {error.fix}", "red")
                self.state = "refused"
                return
            except PancodeError as error:
                self.state = f"the coordinator is away: {error.why or error}"
            if len(self._ended) == len(STREAMS):
                for story in self._stories.values():
                    story.end()
                self.state = "end of the log"
                return
            self._over.wait(self._look_s)

    def _begin(self) -> None:
        runtime = self._client.get(path_of("runs", self._run, "brief"))["runtime"]
        for name, style in STREAMS:  # what it complains of is plain text
            self._stories[name] = LogStory(runtime * (name == "out"), partial(self._text, name, style))

    def _look(self) -> bool:
        """Read one piece of each stream; return whether more is there already."""
        more = False
        for name, story in self._stories.items():
            attempt, offset = self._places[name]
            part = self._client.log(self._run, name, attempt, offset)
            if part.attempt != attempt and attempt:
                self._say(f"attempt {part.attempt}", "bold")
            self._places[name] = (part.attempt, part.next)
            if part.data:
                story.write(part.attempt, part.data)
            more = more or part.state == "more"
            if part.state == "end":
                self._ended.add(name)
            else:
                self._ended.discard(name)
        self.state = "following"
        return more

    def _text(self, name: str, style: str, text: str) -> None:
        *whole, rest = (self._rests.get(name, "") + text).split("\n")
        self._rests[name] = rest
        self._add([((strip_escapes(one), style),) for one in whole])

    def _say(self, text: str, style: str) -> None:
        self._add([((strip_escapes(text), style),)])

    def _add(self, lines: list[Line]) -> None:
        with self._lock:
            self._lines += lines
            del self._lines[:-MOST]
