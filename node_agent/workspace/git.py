"""Runs git on a node in a hardened environment with timeouts; defines the errors of this package."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from node_agent.attempt.ports import LinkDown, StepFailed
from node_agent.wire.failure import FailureKind
from node_agent.wire.git import GitCall, GitDone, git_env

_FULL = ("No space left on device", "Disk quota exceeded")


class WorkspaceFailure(StepFailed):
    """Raised when an operation on files or git fails on this node. `kind` is WORKSPACE or DISK_FULL."""

    def __init__(self, message: str, kind: FailureKind = FailureKind.WORKSPACE) -> None:
        super().__init__(kind, message)


class GitTimeout(WorkspaceFailure):
    """Raised for a git command that did not end in time; its whole process group was killed."""


class DepotUnavailable(LinkDown):
    """Raised when the git depot cannot be reached now, or the stream broke off: try again later."""


class DepotRefused(StepFailed):
    """Raised when the git depot refused a request; the same request will be refused again."""

    def __init__(self, message: str, kind: FailureKind = FailureKind.DEPOT) -> None:
        super().__init__(kind, message)


def is_full(err: str) -> bool:
    """Whether this error output of git is about a full disk."""
    return any(words in err for words in _FULL)


def from_words(what: str, err: str) -> WorkspaceFailure:
    """Return the failure of the operation `what` for git's error output."""
    return WorkspaceFailure(
        f"{what}: {err}", FailureKind.DISK_FULL if is_full(err) else FailureKind.WORKSPACE
    )


def from_os(what: str, exc: OSError) -> WorkspaceFailure:
    """Return the failure of the operation `what` for an error of the operating system."""
    return from_words(what, exc.strerror or str(exc))


@contextmanager
def translate_os_errors(what: str) -> Iterator[None]:
    """Turn an error of the operating system into a WorkspaceFailure of the operation `what`."""
    try:
        yield
    except OSError as exc:
        raise from_os(what, exc) from exc


ERR_KEPT = 2000


def run_git(call: GitCall) -> GitDone:
    """Run git; a bad exit status is not an error. Raises WorkspaceFailure on timeout or without git."""
    with ExitStack() as stack:
        source = stack.enter_context(call.stdin.open("rb")) if isinstance(call.stdin, Path) else None
        target = stack.enter_context(call.stdout.open("wb")) if call.stdout else subprocess.PIPE
        feed = call.stdin if isinstance(call.stdin, bytes) else None
        try:
            process = subprocess.Popen(
                ["git", *call.args],
                cwd=call.cwd,
                env=dict(call.env),
                stdin=source or (subprocess.DEVNULL if feed is None else subprocess.PIPE),
                stdout=target,
                stderr=subprocess.PIPE,
                pass_fds=call.keep_fds,
                start_new_session=True,
            )
        except OSError as exc:
            raise WorkspaceFailure(f"cannot start git in {call.cwd}: {exc}") from exc
        out, err = _finish(process, call, feed)
    return GitDone(process.returncode, out or b"", err.decode("utf-8", "replace").strip()[-ERR_KEPT:])


def _finish(process: subprocess.Popen[bytes], call: GitCall, feed: bytes | None) -> tuple[bytes, bytes]:
    try:
        return process.communicate(feed, call.timeout_s)
    except subprocess.TimeoutExpired as exc:
        raise GitTimeout(f"git {call.args[0]} did not finish within {call.timeout_s:g} s") from exc
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


class NodeGit:
    """One repository, optionally with a working tree, used with one hardened git environment."""

    def __init__(
        self,
        git_dir: Path,
        tree: Path | None = None,
        variables: Mapping[str, str] | None = None,
        patience_s: float = 900.0,
    ) -> None:
        self.git_dir, self.patience_s = git_dir, patience_s
        self.cwd = tree or git_dir
        self.env = git_env(os.environ) | {"GIT_DIR": str(git_dir)} | dict(variables or {})
        if tree is not None:
            self.env["GIT_WORK_TREE"] = str(tree)

    def call(self, *args: str) -> GitCall:
        return GitCall(args, self.env, self.cwd, timeout_s=self.patience_s)

    def ask(self, *args: str, stdin: bytes | Path | None = None, stdout: Path | None = None) -> GitDone:
        """Run git and return the result; a bad exit status raises nothing."""
        return run_git(replace(self.call(*args), stdin=stdin, stdout=stdout))

    def must(self, *args: str, stdin: bytes | Path | None = None, stdout: Path | None = None) -> GitDone:
        """Run git and return the result. Raises WorkspaceFailure for a bad exit status."""
        done = self.ask(*args, stdin=stdin, stdout=stdout)
        if not done.ok:
            raise from_words(f"git {args[0]} failed with exit status {done.status}", done.err)
        return done

    def text(self, *args: str) -> str:
        return self.must(*args).text()
