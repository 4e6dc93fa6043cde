"""Reads the output of a session for its faces: whole lines as events, and turns with their words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_LINE = 16 << 20
"""Bytes. A longer line of the output is dropped as a whole."""
OVER = ("rests", "turn lost", "ended")
"""States of a session without a program."""
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
    """Bytes that come cut anywhere. `rest`: the beginning of a line whose end has not come."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in these bytes, without their ends."""
        *ends, last = data.split(b"\n")
        for end in ends:
            self.rest += end
            if len(self.rest) <= MOST_LINE:
                yield bytes(self.rest)
            self.rest.clear()
        if len(self.rest) <= MOST_LINE:
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
