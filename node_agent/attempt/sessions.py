"""The port for agent sessions: saved when a run ends, resumed by a later run on this node."""

from __future__ import annotations

from typing import Protocol

from node_agent.attempt.ports import StepFailed
from node_agent.wire.failure import FailureKind
from node_agent.wire.order import Order
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
