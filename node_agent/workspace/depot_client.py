"""The node's use of the depot: fetch a snapshot, push a result, send logs."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from node_agent.wire.failure import FailureKind
from node_agent.wire.git import GitCall, GitDone, git_env
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Verb
from node_agent.wire.receipt import Blob
from node_agent.workspace.depot_stream import DepotAccess, ask, hang_up, must_agree, read_line, send
from node_agent.workspace.errors import (
    DepotRefused,
    DepotUnavailable,
    GitTimeout,
    WorkspaceFailure,
    from_os,
    from_words,
    is_full,
)
from node_agent.workspace.gitrun import run_git

CHUNK = 1 << 18
GIT_S = 4 * 3600.0
_BROKEN = (
    "hung up",
    "early EOF",
    "unexpected disconnect",
    "Broken pipe",
    "Connection reset",
    "read error",
    "unpack-objects died",
    "invalid index-pack output",
)


class DepotClient:
    """The node's end of the depot: `Transport` for git, `DepotLink` for logs. Every call may be repeated."""

    def __init__(self, door: DepotAccess, git_s: float = GIT_S) -> None:
        self._door = door
        self._git_s = git_s

    def fetch(self, identity: AttemptId, repository: Path, ref: str) -> None:
        """Bring the depot's `ref` into the same ref of a bare repository here."""
        # The user's own history may have sins that fsck refuses; the order's signature names the commit.
        with self._stream("fetch", identity) as peer:
            options = ("fetch", "-q", "--no-tags", "--no-write-fetch-head", "--update-shallow")
            done = self._git(repository, peer, (*options, f"fd::{peer.fileno()}", f"+{ref}:{ref}"))
        if not done.ok:
            raise _fetch_failed(done.err)

    def push(self, identity: AttemptId, repository: Path, commit: str) -> None:
        """Bring `commit` to the attempt's own ref; the same commit again is no error."""
        with self._stream("push", identity) as peer:
            options = ("push", "-q", "--no-verify", "--porcelain")
            done = self._git(repository, peer, (*options, f"fd::{peer.fileno()}", f"{commit}:{identity.ref}"))
        if not done.ok:
            raise _push_failed(done.err + "\n" + done.text())

    def _git(self, repository: Path, peer: socket.socket, args: tuple[str, ...]) -> GitDone:
        """Git on the open stream itself: no program of ours in between, no secret in its environment."""
        peer.setblocking(True)
        config = {"protocol.fd.allow": "always", "fetch.fsckObjects": "false"}
        env = git_env(os.environ, config) | {"GIT_DIR": str(repository)}
        try:
            return run_git(GitCall(args, env, repository, keep_fds=(peer.fileno(),), timeout_s=self._git_s))
        except GitTimeout as exc:
            raise DepotUnavailable(str(exc)) from exc

    def upload(self, identity: AttemptId, name: str, path: Path) -> Blob:
        """Send what of a finished file is not there yet; its size and digest when the depot has all of it."""
        with _opened(path) as file, self._stream("log", identity) as peer:
            _send_new(peer, name, file)
            size, sha256 = _digest(file)
            stored = ask(peer, op="digest", name=name)
        if (stored.get("size"), stored.get("sha256")) != (size, sha256):
            raise DepotRefused(f"the depot has other bytes of {name}: {stored.get('size')} of {size}")
        return Blob(name=name, size=size, sha256=sha256)

    def follow(self, identity: AttemptId, name: str, path: Path) -> None:
        """Send what is new in a file that still grows."""
        with _opened(path) as file, self._stream("log", identity) as peer:
            _send_new(peer, name, file)

    @contextmanager
    def _stream(self, verb: Verb, identity: AttemptId) -> Iterator[socket.socket]:
        peer = self._door.open(verb, identity)
        try:
            yield peer
        finally:
            hang_up(peer)


def _send_new(peer: socket.socket, name: str, file: IO[bytes]) -> None:
    """From the depot's size to the size that the file has now."""
    stored = ask(peer, op="size", name=name).get("size")
    size = os.fstat(file.fileno()).st_size
    if not isinstance(stored, int) or stored > size:
        raise DepotRefused(f"the depot has {stored} bytes of {name}, here are {size}")
    if stored < size:
        ask(peer, op="append", name=name, offset=stored, length=size - stored)
        _send_bytes(peer, file, stored, size - stored)
        must_agree(read_line(peer))


def _send_bytes(peer: socket.socket, file: IO[bytes], offset: int, length: int) -> None:
    file.seek(offset)
    left = length
    while left > 0:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            raise WorkspaceFailure(f"{file.name} became shorter while it was sent")
        send(peer, chunk)
        left -= len(chunk)


def _digest(file: IO[bytes]) -> tuple[int, str]:
    seen, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(CHUNK):
        seen.update(chunk)
        size += len(chunk)
    return size, seen.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A file of ours, never through a link."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise from_os(f"{path} cannot be read", exc) from exc
    with os.fdopen(handle, "rb") as file:
        yield file


def _fetch_failed(err: str) -> Exception:
    if "find remote ref" in err:
        return DepotRefused(f"the depot does not show the run's snapshot: {err}")
    if any(words in err for words in _BROKEN):
        return DepotUnavailable(f"the stream broke: {err}")
    return from_words("git fetch failed", err)


def _push_failed(err: str) -> Exception:
    if any(line.startswith("remote:") and is_full(line) for line in err.splitlines()):
        return DepotUnavailable(f"the depot's disk is full: {err.strip()}")
    if "rejected]" in err or "maximum allowed size" in err or "fsck error" in err:
        return DepotRefused(f"the depot refused the push: {err.strip()}", FailureKind.RESULT_REFUSED)
    if any(words in err for words in _BROKEN):
        return DepotUnavailable(f"the stream broke: {err.strip()}")
    return from_words("git push failed", err.strip())
