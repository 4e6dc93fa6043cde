"""Reads the output of a session for its faces: whole lines as events, and turns with their words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MOST_LINE = 16 << 20


class SessionState(StrEnum):
    """What a session does now, in the words of its faces."""

    WAITS_FOR_SLOT = "waits for a slot"
    STARTS = "starts"
    WORKS = "works"
    ASKS = "asks"
    """A question waits for a person's answer."""
    WAITS_FOR_YOU = "waits for you"
    """Its program is there, and has answered everything."""
    RESTS = "rests"
    """No program, no slot: the next words begin the next sitting."""
    TURN_LOST = "turn lost"
    """Its program ended in the middle of a turn: a person decides whether to say it again."""
    ENDED = "ended"
    """A person has ended it, or it is a run without turns."""


OVER = (SessionState.RESTS, SessionState.TURN_LOST, SessionState.ENDED)
"""Without a program."""
WAITING = (SessionState.WAITS_FOR_YOU, SessionState.ASKS, *OVER)
"""Nothing comes without more words of somebody."""
NO_TURN = "no_turn"
"""The coordinator's code for a session whose program has ended already."""


@dataclass
class ReadTurn:
    """A turn as the output tells it."""

    run: str
    number: int
    words: set[int] = field(default_factory=set)
    """The numbers of its messages; 0: the task."""
    before: tuple[str, ...] = ()
    """The runs of the session that were read before this one."""
    stop: str = ""
    """Why it has ended; empty: it has not."""
    why: str = ""

    def has(self, run: str, message: int) -> bool:
        """Whether the message is one of its words; one that came too late opens the next run."""
        return message in self.words if self.run == run else self.number == 1 and run in self.before

    def end(self, event: dict[str, Any]) -> None:
        """It has ended as this event of its worker says."""
        self.stop, self.why = text_of(event.get("stop")) or "none", text_of(event.get("why"))


class WholeLines:
    """Bytes that come cut anywhere. `rest`: the beginning of a line whose end has not come.

    A line of more than `most` bytes is dropped as a whole.
    """

    def __init__(self, most: int = MOST_LINE) -> None:
        self._most, self.rest = most, bytearray()
        self.behind = 0
        """So many of the bytes that were fed last stand behind the line that was yielded last."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in these bytes, without their ends."""
        *ends, last = data.split(b"\n")
        self.behind = len(data)
        for end in ends:
            self.rest += end
            self.behind -= len(end) + 1
            if len(self.rest) <= self._most:
                yield bytes(self.rest)
            self.rest.clear()
        if len(self.rest) <= self._most:
            self.rest += last


def event_of(line: bytes) -> dict[str, Any]:
    """The event of a worker in this line; empty where it holds none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def text_of(value: Any) -> str:
    """The value if it is a string; half a surrogate pair, which UTF-8 cannot have, becomes `?`."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def count_of(value: Any) -> int:
    """The value if it is a whole number above 0, else 0."""
    return value if type(value) is int and value > 0 else 0
