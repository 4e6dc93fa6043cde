"""How the workspace room fails, in the words of the failure table."""

from __future__ import annotations

from node_agent.wire.failure import FailureKind

_FULL = ("No space left on device", "Disk quota exceeded")


class WorkspaceFailure(Exception):
    """Files or git on this node failed. `kind` is WORKSPACE or DISK_FULL."""

    def __init__(self, message: str, kind: FailureKind = FailureKind.WORKSPACE) -> None:
        super().__init__(message)
        self.kind = kind


class DepotUnavailable(WorkspaceFailure):
    """The depot cannot be reached now, or the stream broke: try again later. `kind` is DEPOT."""

    def __init__(self, message: str) -> None:
        super().__init__(message, FailureKind.DEPOT)


class DepotRefused(WorkspaceFailure):
    """The depot answered no; the same request will be refused again. `kind` is DEPOT.

    `size` is what the depot holds of a log whose offset it refused.
    """

    def __init__(self, message: str, size: int | None = None) -> None:
        super().__init__(message, FailureKind.DEPOT)
        self.size = size


def from_words(what: str, err: str) -> WorkspaceFailure:
    """A failure from what git said on standard error."""
    full = any(words in err for words in _FULL)
    return WorkspaceFailure(f"{what}: {err}", FailureKind.DISK_FULL if full else FailureKind.WORKSPACE)
