"""How the git room says no: a refusal that names paths and the fix, or a git that failed."""

from __future__ import annotations


class GitRefusal(Exception):
    """The project cannot be transported or landed as it is; the user can mend it. Maps to exit code 7.

    `why` is how we know, `fix` what to do, `paths` the files concerned (for people).
    """

    def __init__(self, message: str, why: str = "", fix: str = "", paths: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.fix = fix
        self.paths = paths


class GitFailure(Exception):
    """A git process failed in a way that nobody foresaw; carries its status and the end of its words."""

    def __init__(self, args: tuple[str, ...], status: int, err: str) -> None:
        super().__init__(f"git {' '.join(args[:3])}: exit {status}: {err}")
        self.git_args = args
        self.status = status
        self.err = err


class GitMissing(GitRefusal):
    """There is no git program on PATH."""
