"""Reads a script's output: its exit status is its verdict, its last lines are its answer."""

from __future__ import annotations

from node_agent.runtimes.base import (
    ANSWER_CHARS,
    NOTHING,
    Activity,
    ExitInfo,
    RuntimeVerdict,
    TextPiece,
    clip,
    ended_for_us,
    how_it_ended,
)
from node_agent.wire.failure import FailureKind
from node_agent.wire.receipt import Usage

_KEEP = ANSWER_CHARS * 4  # a UTF-8 character has at most four bytes
_CANNOT_RUN = {126: "it names a program that cannot be executed", 127: "it names a program that is not there"}


class ShellParser:
    """Keeps only the end of the output."""

    def __init__(self) -> None:
        self._tail = b""

    @property
    def usage(self) -> Usage:
        return NOTHING

    def feed(self, chunk: bytes) -> list[Activity]:
        """Every piece of output is text for the person who watches."""
        self._tail = (self._tail + chunk[-_KEEP:])[-_KEEP:]
        return [TextPiece(chunk.decode("utf-8", "replace"))] if chunk else []

    def finish(self, end: ExitInfo) -> RuntimeVerdict:
        """Exit 0 is done; any other end is the script's own failure, a program that it misses too."""
        failure, reason = self._judge(end)
        answer = clip(self._tail.decode("utf-8", "replace").strip())
        return RuntimeVerdict(failure, reason, answer, NOTHING)

    def _judge(self, end: ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := ended_for_us(end):
            return ours
        if end.status == 0:
            return None, "exit 0"
        if end.status in _CANNOT_RUN:
            words = f"the script ended with exit {end.status}: {_CANNOT_RUN[end.status]} (see its log)"
            return FailureKind.AGENT_FAILED, words
        return FailureKind.AGENT_FAILED, how_it_ended(end)
