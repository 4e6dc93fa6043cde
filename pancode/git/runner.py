"""Runs git on the coordinator: hardened environment, argument lists, process group killed at a timeout."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from node_agent.wire.git import GitCall, GitDone, git_env
from pancode.kernel.errors import WorkspaceError


class GitRefusal(WorkspaceError):
    """A project that cannot be transferred or landed as it is; the user can correct it. `why`: the evidence;
    `fix`: what to do; `paths`: the files concerned, to show to users."""

    def __init__(self, message: str, why: str = "", fix: str = "", paths: tuple[str, ...] = ()) -> None:
        super().__init__(message, why=why, fix=fix)
        self.paths = paths


class GitFailure(WorkspaceError):
    """An unexpected failure of a git process; `err` is the end of its standard error."""

    def __init__(self, args: tuple[str, ...], status: int, err: str) -> None:
        super().__init__(
            f"git {' '.join(args[:3])}: exit {status}: {err}", fix="check the repository: git fsck"
        )
        self.git_args = args
        self.status = status
        self.err = err


class GitMissing(GitRefusal):
    """The error that the git program is not on PATH."""


@contextmanager
def translate_os_errors(what: str) -> Iterator[None]:
    """Turn an OSError in the block into a GitRefusal with the message `what`."""
    try:
        yield
    except OSError as exc:
        name = str(exc.filename) if exc.filename else ""
        why = f"{exc.strerror or exc}{': ' if name else ''}{name}"
        raise GitRefusal(f"{what} failed", why, "check free space and permissions: df, ls -ld") from exc


ERR_KEPT = 2000
"""How many characters of a failed git's standard error are kept, from its end."""


def safe_env(config: Mapping[str, str] | None = None, more: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """Return a hardened copy of this process's environment, with `more` (such as GIT_DIR) added."""
    return git_env(os.environ, config, more)


def any_owner_env() -> dict[str, str]:
    """Return the same for a question that reads a repository, whoever owns it, and runs no program of it."""
    return safe_env({"safe.directory": "*"})


def run_git(call: GitCall) -> GitDone:
    """Run git once. Raises GitFailure at a timeout, GitMissing without git; a nonzero exit does not raise."""
    with ExitStack() as stack:
        reader = stack.enter_context(call.stdin.open("rb")) if isinstance(call.stdin, Path) else None
        writer = stack.enter_context(call.stdout.open("wb")) if call.stdout else subprocess.PIPE
        feed = call.stdin if isinstance(call.stdin, bytes) else None
        try:
            process = subprocess.Popen(
                ["git", *call.args],
                cwd=call.cwd,
                env=dict(call.env),
                stdin=reader or (subprocess.PIPE if feed is not None else subprocess.DEVNULL),
                stdout=writer,
                stderr=subprocess.PIPE,
                pass_fds=call.keep_fds,
                start_new_session=True,
            )
        except FileNotFoundError as exc:
            raise GitMissing(
                "git not found", why=f"git is not on PATH ({exc})", fix="install git 2.39 or later"
            ) from exc
        try:
            out, err = process.communicate(feed, call.timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise GitFailure(
                call.args, -signal.SIGKILL, f"git did not finish within {call.timeout_s:g} s"
            ) from exc
        finally:
            end_group(process)
    return GitDone(process.returncode, out or b"", err.decode("utf-8", "replace").strip()[-ERR_KEPT:])


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group if it still runs, and reap the process; git's own children die with it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def must_git(call: GitCall) -> GitDone:
    """Run git like run_git, but raise GitFailure for a nonzero exit status too."""
    done = run_git(call)
    if not done.ok:
        raise GitFailure(call.args, done.status, done.err)
    return done


class Git:
    """One repository, used through one hardened environment."""

    def __init__(self, cwd: Path, env: Mapping[str, str]) -> None:
        self.cwd = cwd
        self.env = env

    def call(self, *args: str) -> GitCall:
        return GitCall(args, self.env, self.cwd)

    def ask(self, *args: str) -> GitDone:
        """Run git; a nonzero exit status does not raise."""
        return run_git(self.call(*args))

    def must(self, *args: str, stdin: bytes | Path | None = None, stdout: Path | None = None) -> GitDone:
        """Run git; GitFailure for a nonzero exit status."""
        return must_git(replace(self.call(*args), stdin=stdin, stdout=stdout))

    def text(self, *args: str) -> str:
        return self.must(*args).text()

    def having(self, **variables: str) -> Git:
        """Return the same repository with more environment variables."""
        return Git(self.cwd, {**self.env, **variables})
