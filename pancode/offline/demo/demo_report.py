"""The output of `pancode demo`: acts, commands with their output, checks that passed or failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import indent

from node_agent.wire.clock import Clock

Write = Callable[[str], None]
_MARGIN = "   "


@dataclass(frozen=True, slots=True)
class DemoCheck:
    """One thing that was looked at, and whether it was as it must be."""

    what: str
    ok: bool
    detail: str


class DemoReport:
    """Tells the demo as it goes, and keeps the count. `write` takes text; it may raise OSError."""

    def __init__(self, write: Write, clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._began = clock.mono_ms()
        self._act = 0
        self.checks: list[DemoCheck] = []

    @property
    def seconds(self) -> float:
        return (self._clock.mono_ms() - self._began) / 1000

    @property
    def good(self) -> bool:
        """Whether every check so far held."""
        return all(check.ok for check in self.checks)

    def say(self, text: str = "") -> None:
        self._write(f"{text}\n")

    def act(self, title: str) -> None:
        """A new part of the story, with the time that has passed."""
        self._act += 1
        self.say(f"\n{self._act}. {title}  [{self.seconds:.0f} s]")

    def tell(self, text: str) -> None:
        """A sentence of the current act."""
        self.say(indent(text, _MARGIN))

    def command(self, shown: str, output: str = "") -> None:
        """A command as a person would type it, and what it printed."""
        self.tell(f"$ {shown}")
        if output.strip():
            self.tell(indent(output.rstrip("\n"), "  "))

    def check(self, what: str, ok: bool, detail: object = "") -> bool:
        """Keep and show a check; `detail` is shown when it did not hold."""
        found = DemoCheck(what, bool(ok), str(detail))
        self.checks.append(found)
        self.tell(f"ok   {what}" if found.ok else f"NO   {what}: {found.detail}")
        return found.ok
