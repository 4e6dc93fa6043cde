"""One answer of a model with the times of its tokens, as a test judges it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from node_agent.chat.dialect import Trouble
from node_agent.chat.messages import Call
from node_agent.chat.stream import Stream

_SPEED_TOKENS = 5
"""Fewer say nothing of a speed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """`status` 200 and `error`: it broke off with those words. `late`: we left before its end.

    `prompt_tokens`, `tokens`: as the server counted them. `first_ms`: until its first token.
    """

    status: int = 200
    error: str = ""
    late: bool = False
    text: str = ""
    thought: bool = False
    calls: tuple[Call, ...] = ()
    finish: str = ""
    prompt_tokens: int | None = None
    tokens: int | None = None
    tok_s: float | None = None
    ctx: int | None = None
    """The limit that a refusal of a long prompt names."""
    first_ms: int | None = None

    @property
    def well(self) -> bool:
        return self.status == 200 and not self.error and not self.late


class Timed:
    """A stream, and when its tokens came."""

    def __init__(self) -> None:
        self._stream = Stream()
        self._first_ms: int | None = None
        self._last_ms = 0

    def take(self, event: str, at_ms: int) -> None:
        """`at_ms`: since the question was asked."""
        self._stream.take(event)
        if self._stream.has_grown:
            self._first_ms = at_ms if self._first_ms is None else self._first_ms
            self._last_ms = at_ms

    def reply(self, late: bool = False, trouble: Trouble | None = None) -> Reply:
        """The reply so far, and the reason for its end."""
        stream = self._stream
        return Reply(
            status=200 if trouble is None else trouble.status or 200,
            error=stream.error or ("" if trouble is None else str(trouble)),
            late=late,
            text=stream.text,
            thought=stream.thought,
            calls=stream.calls,
            finish=stream.finish,
            prompt_tokens=stream.prompt_tokens,
            tokens=stream.tokens,
            tok_s=self._speed(),
            ctx=None if trouble is None else trouble.room,
            first_ms=self._first_ms,
        )

    def _speed(self) -> float | None:
        """The server's own figure; else from the first token to the last."""
        tokens, stated = self._stream.tokens, self._stream.stated_speed
        if tokens is None or tokens < _SPEED_TOKENS:
            return None
        if stated is not None and 0 < stated < 1e7:
            return round(stated, 1)
        ms = self._last_ms - (self._first_ms or 0)
        return round((tokens - 1) * 1000 / ms, 1) if self._first_ms is not None and ms > 0 else None
