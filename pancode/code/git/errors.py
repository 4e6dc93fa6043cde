"""Errors of the git room: a refusal that names paths and the fix, or a git command that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pancode.errors import WorkspaceError


class GitRefusal(WorkspaceError):
    """The project cannot be transported or landed as it is; the user can mend it.

    `why` is how we know, `fix` what to do, `paths` the files concerned (for people).
    """

    def __init__(self, message: str, why: str = "", fix: str = "", paths: tuple[str, ...] = ()) -> None:
        super().__init__(message, why=why, fix=fix)
        self.paths = paths


class GitFailure(WorkspaceError):
    """A git process failed in a way that nobody foresaw; `err` is the end of its words."""

    def __init__(self, args: tuple[str, ...], status: int, err: str) -> None:
        super().__init__(f"git {' '.join(args[:3])}: exit {status}: {err}", fix="look with: git fsck")
        self.git_args = args
        self.status = status
        self.err = err


class GitMissing(GitRefusal):
    """There is no git program on PATH."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns an error of the operating system into a GitRefusal."""
    try:
        yield
    except OSError as exc:
        name = str(exc.filename) if exc.filename else ""
        why = f"{exc.strerror or exc}{': ' if name else ''}{name}"
        raise GitRefusal(f"{what} failed", why, "look at space and permissions: df, ls -ld") from exc
