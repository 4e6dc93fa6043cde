"""The ports for what an agent has besides its code: its kept session, and its questions to people."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from node_agent.attempt.ports import StepFailed
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.order import Order
from node_agent.wire.policy import CallAsked
from node_agent.wire.receipt import Usage


class NotYet(Exception):
    """Something lies where the attempt must work; try again later, nothing is lost."""


class Sessions(Protocol):
    """The kept sessions of programs. Every call may be repeated after a crash in it."""

    def keep(self, order: Order, session: str | None, used: Usage) -> str:
        """Keep what the attempt's program remembers, with what this run alone has used; why not, in words.

        Only while no process of the attempt lives. Raises nothing.
        """

    def go_on(self, order: Order) -> None:
        """Give the attempt the place of the run that it goes on with. Before anything of it lies there.

        NotYet while that is taken; StepFailed(CANNOT_START) where the session is not kept.
        """

    def put_back(self, order: Order) -> None:
        """The session's files in the attempt's home. Before the agent was started. StepFailed."""

    def trim(self, now_ms: int) -> None:
        """Let go of what was not asked for in a long time. `now_ms`: wall clock. Idempotent."""


class NoSessions:
    """Keeps no sessions."""

    def keep(self, order: Order, session: str | None, used: Usage) -> str:
        return ""

    def go_on(self, order: Order) -> None:
        if order.resume is not None:
            raise StepFailed(FailureKind.CANNOT_START, f"no session of {order.resume.run} is kept here")

    def put_back(self, order: Order) -> None:
        """There is none."""

    def trim(self, now_ms: int) -> None:
        """There is none."""


class CallsPort(Protocol):
    """The questions that lie in a run's home, and the answers beside them."""

    def open(self, identity: AttemptId) -> tuple[CallAsked, ...]:
        """Questions without an answer, as any program of the run may have written them. Raises nothing."""

    def answer(self, identity: AttemptId, call: str, data: bytes) -> None:
        """Lay the answer; the same once more has no effect. StepFailed, DiskFull."""

    def patience(self, phase: Path, waits: bool) -> None:
        """Whether the phase's idle limit waits for a person. Idempotent. Raises nothing."""


class NoCalls:
    """Of a node without homes: nobody asks."""

    def open(self, identity: AttemptId) -> tuple[CallAsked, ...]:
        return ()

    def answer(self, identity: AttemptId, call: str, data: bytes) -> None:
        return

    def patience(self, phase: Path, waits: bool) -> None:
        return
