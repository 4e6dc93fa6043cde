"""Errors of the workspace room, by failure kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from node_agent.attempt.ports import LinkDown, StepFailed
from node_agent.wire.failure import FailureKind

_FULL = ("No space left on device", "Disk quota exceeded")


class WorkspaceFailure(StepFailed):
    """Files or git on this node failed. `kind` is WORKSPACE or DISK_FULL."""

    def __init__(self, message: str, kind: FailureKind = FailureKind.WORKSPACE) -> None:
        super().__init__(kind, message)


class GitTimeout(WorkspaceFailure):
    """A git did not end in time; its whole process group was ended."""


class DepotUnavailable(LinkDown):
    """The depot cannot be reached now, or the stream broke: try again later."""


class DepotRefused(StepFailed):
    """The depot answered no; the same request will be refused again."""

    def __init__(self, message: str, kind: FailureKind = FailureKind.DEPOT) -> None:
        super().__init__(kind, message)


def is_full(err: str) -> bool:
    """Check whether git speaks of a disk without room."""
    return any(words in err for words in _FULL)


def from_words(what: str, err: str) -> WorkspaceFailure:
    """A failure from what git said on standard error."""
    return WorkspaceFailure(
        f"{what}: {err}", FailureKind.DISK_FULL if is_full(err) else FailureKind.WORKSPACE
    )


def from_os(what: str, exc: OSError) -> WorkspaceFailure:
    """A failure from what the operating system said."""
    return from_words(what, exc.strerror or str(exc))


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns an error of the operating system into a WorkspaceFailure."""
    try:
        yield
    except OSError as exc:
        raise from_os(what, exc) from exc
