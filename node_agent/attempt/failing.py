"""The ways in which a port can fail: not now, no room, or not at all."""

from __future__ import annotations

from node_agent.wire.failure import FailureKind


class LinkDown(Exception):
    """Redis or the depot cannot be reached now; try again later, nothing is lost."""


class DiskFull(Exception):
    """There is no room for what must be durable; try again later."""


class StepFailed(Exception):
    """A step cannot be done, now or later; `kind` says what the attempt ends with."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
