"""Decides when a run of PanCode's own worker must stop at a limit, before its work is done. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node_agent.wire.failure import FailureKind

MOST_TURNS, MOST_CALLS = 200, 1_000


class Over(Exception):
    """The run must end before its work is done. `answer`: the model's last text, if any."""

    answer = ""

    def __init__(self, kind: FailureKind, why: str) -> None:
        super().__init__(why)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """The limits of a conversation; None: no such limit. `until_ms`: on the monotonic clock. `turns`: model
    calls.

    `answers`: the owner's limit of turns; with `wrap_up` one more answer follows, without tool calls.
    """

    until_ms: int
    turns: int
    calls: int
    tokens: int | None
    output_bytes: int
    answers: int | None = None
    wrap_up: bool = False

    def check(
        self,
        now_ms: int,
        turns: int,
        calls: int,
        used: Mapping[str, int],
        written: int,
        is_last: bool = False,
    ) -> None:
        """Raise Over at a limit. `used`: tokens by kind; `written`: bytes of the stream; `is_last`: this is
        the last message."""
        spent = used["input"] + used["output"]
        if now_ms >= self.until_ms:
            raise Over(FailureKind.WALL_LIMIT, "the time limit was reached")
        if self.answers is not None and turns >= self.answers and not is_last:
            words = f"the model has answered {turns} times, the limit is {self.answers}"
            raise Over(FailureKind.TURN_LIMIT, words)
        if turns >= self.turns:
            raise Over(
                FailureKind.REQUEST_LIMIT, f"the model was called {turns} times, the limit is {self.turns}"
            )
        if calls >= self.calls:
            raise Over(
                FailureKind.REQUEST_LIMIT, f"tools were called {calls} times, the limit is {self.calls}"
            )
        if self.tokens is not None and spent >= self.tokens:
            raise Over(FailureKind.TOKEN_LIMIT, f"{spent} tokens, the limit is {self.tokens}")
        if written >= self.output_bytes:
            raise Over(FailureKind.OUTPUT_LIMIT, "the agent wrote more output than its limit")
