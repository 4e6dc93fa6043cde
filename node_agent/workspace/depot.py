"""The node's access to the git depot: opens an authenticated stream, fetches, pushes, and sends logs."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from node_agent.wire.failure import FailureKind
from node_agent.wire.git import AT_ONCE, GitCall, GitDone, git_env
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Verb
from node_agent.wire.receipt import Blob
from node_agent.workspace.git import (
    DepotRefused,
    DepotUnavailable,
    GitTimeout,
    WorkspaceFailure,
    from_os,
    from_words,
    is_full,
    run_git,
)

LINE_MAX = 16 * 1024
Address = Path | tuple[str, int]
"""A unix socket; or host and port, if sshd forbids forwarding sockets."""
SignHello = Callable[[str, Verb, AttemptId], bytes]
"""Makes a signed hello: (nonce, verb, identity) -> one line without its line break."""


@dataclass(frozen=True, slots=True)
class DepotAccess:
    """The git depot's address (None: no link), the function that signs, and the reply timeout in seconds."""

    address: Callable[[], Address | None]
    sign: SignHello
    patience_s: float = 30.0

    def open(self, verb: Verb, identity: AttemptId) -> socket.socket:
        """Open a stream that the depot grants. Raises DepotUnavailable (retry) or DepotRefused (final)."""
        address = self.address()
        if address is None:
            raise DepotUnavailable("the node has no link to the coordinator")
        try:
            peer = self._connect(address)
        except OSError as exc:
            raise DepotUnavailable(f"cannot reach the coordinator's git depot: {exc}") from exc
        try:
            nonce = read_line(peer).get("nonce")
            if not isinstance(nonce, str):
                raise DepotUnavailable("the server there is not a depot")
            send_data(peer, self.sign(nonce, verb, identity) + b"\n")
            must_agree(read_line(peer))
        except BaseException:
            peer.close()
            raise
        return peer

    def _connect(self, address: Address) -> socket.socket:
        family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
        peer = socket.socket(family)
        peer.settimeout(self.patience_s)
        try:
            peer.connect(str(address) if isinstance(address, Path) else address)
        except OSError:
            peer.close()
            raise
        return peer


def read_line(peer: socket.socket) -> Mapping[str, Any]:
    """Read one JSON object and no more: the rest is for git. Raises DepotUnavailable if the stream ends."""
    seen = b""
    try:
        while not seen.endswith(b"\n") and len(seen) < LINE_MAX:
            byte = peer.recv(1)
            if not byte:
                raise DepotUnavailable("the coordinator's git depot closed the stream")
            seen += byte
        answer = json.loads(seen)
    except (OSError, ValueError) as exc:
        raise DepotUnavailable(f"no answer from the coordinator's git depot: {exc}") from exc
    if not isinstance(answer, dict):
        raise DepotUnavailable("the server there is not a depot")
    return answer


def must_agree(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the answer if the depot agrees; otherwise raise DepotUnavailable or DepotRefused."""
    if answer.get("ok") is True:
        return answer
    why = str(answer.get("why"))
    if answer.get("retry") is True:
        raise DepotUnavailable(f"the coordinator's git depot cannot serve this request now: {why}")
    raise DepotRefused(f"the depot refused: {why}")


def send_data(peer: socket.socket, data: bytes | memoryview) -> None:
    try:
        peer.sendall(data)
    except OSError as exc:
        raise DepotUnavailable(f"the stream to the coordinator's git depot broke off: {exc}") from exc


def send_request(peer: socket.socket, **request: object) -> Mapping[str, Any]:
    """Send one request and return the answer, checked by `must_agree`."""
    send_data(peer, _request(**request))
    return must_agree(read_line(peer))


def _request(**request: object) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


def hang_up(peer: socket.socket) -> None:
    with suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)
    peer.close()


CHUNK = 1 << 18
MOST_LOGS = 64
"""The most log streams that stay open; the git depot closes a stream after two minutes without data."""
GIT_S = 4 * 3600.0
_BROKEN_STREAM = (
    "hung up",
    "early EOF",
    "unexpected disconnect",
    "Broken pipe",
    "Connection reset",
    "read error",
    "unpack-objects died",
    "invalid index-pack output",
)


@dataclass(frozen=True, slots=True)
class _OpenLog:
    """A log stream that stays open: its address, and the sent size of each log."""

    address: Address | None
    peer: socket.socket
    sizes: dict[str, int] = field(default_factory=dict)


class DepotClient:
    """The node's git depot client: `Transport` for git, `DepotLink` for logs. Calls may be repeated."""

    def __init__(self, listener: DepotAccess, git_s: float = GIT_S) -> None:
        self._listener = listener
        self._git_s = git_s
        self._lock = threading.Lock()
        self._logs: dict[AttemptId, _OpenLog] = {}

    def fetch(self, identity: AttemptId, repository: Path, ref: str) -> None:
        """Fetch the git depot's `ref` into the same ref of a local bare repository."""
        # The user's history may fail fsck checks; the signed job already names the commit.
        with self._open_stream("fetch", identity) as peer:
            options = ("fetch", "-q", "--no-tags", "--no-write-fetch-head", "--update-shallow")
            done = self._run_git(repository, peer, (*options, f"fd::{peer.fileno()}", f"+{ref}:{ref}"))
        if not done.ok:
            raise _fetch_failed(done.err)

    def push(self, identity: AttemptId, repository: Path, commit: str) -> None:
        """Push `commit` to the attempt's own ref; pushing the same commit again is not an error."""
        with self._open_stream("push", identity) as peer:
            options = ("push", "-q", "--no-verify", "--porcelain")
            done = self._run_git(
                repository, peer, (*options, f"fd::{peer.fileno()}", f"{commit}:{identity.ref}")
            )
        if not done.ok:
            raise _push_failed(done.err + "\n" + done.text())

    def _run_git(self, repository: Path, peer: socket.socket, args: tuple[str, ...]) -> GitDone:
        """Run git on the open stream `peer`, without a helper program or a secret in git's environment."""
        peer.setblocking(True)
        config = {"protocol.fd.allow": "always", "fetch.fsckObjects": "false"}
        env = git_env(os.environ, config) | {"GIT_DIR": str(repository)}
        try:
            return run_git(GitCall(args, env, repository, keep_fds=(peer.fileno(),), timeout_s=self._git_s))
        except GitTimeout as exc:
            raise DepotUnavailable(str(exc)) from exc

    def upload(self, identity: AttemptId, name: str, path: Path) -> Blob:
        """Send the missing bytes of a finished file. Return its size and digest if the depot has it all."""
        with self._lock:
            log = self._logs.pop(identity, None)
        if log is not None:
            hang_up(log.peer)
        with _open_file(path) as file, self._open_stream("log", identity) as peer:
            _send_new(peer, name, file)
            size, sha256 = _hash_file(file)
            stored = send_request(peer, op="digest", name=name)
        if (stored.get("size"), stored.get("sha256")) != (size, sha256):
            raise DepotRefused(
                f"the git depot's copy of {name} differs: {stored.get('size')} of {size} bytes"
            )
        return Blob(name=name, size=size, sha256=sha256)

    def follow(self, identity: AttemptId, name: str, path: Path, stays: bool = False) -> None:
        """Send the new bytes of a growing file. `stays`: leave the stream open for the next call."""
        with _open_file(path) as file:
            if not stays:
                with self._open_stream("log", identity) as peer:
                    _send_new(peer, name, file)
            elif not self._sent_on(identity, name, file):
                self._keep(identity, _OpenLog(self._listener.address(), self._listener.open("log", identity)))
                self._sent_on(identity, name, file)

    def _sent_on(self, identity: AttemptId, name: str, file: IO[bytes]) -> bool:
        """Send the log over the open stream; return True. False: no stream is open, as after an idle time."""
        with self._lock:
            log = self._logs.pop(identity, None)
        if log is None:
            return False
        try:
            if log.address != self._listener.address():
                raise DepotUnavailable("the link to the coordinator has changed")
            log.sizes[name] = _send_new(log.peer, name, file, log.sizes.get(name))
        except BaseException as exc:
            hang_up(log.peer)
            if isinstance(exc, DepotUnavailable) and log.sizes:
                return False  # a new stream reports which bytes have arrived
            raise
        self._keep(identity, log)
        return True

    def _keep(self, identity: AttemptId, log: _OpenLog) -> None:
        with self._lock:
            self._logs[identity] = log
            old = [self._logs.pop(next(iter(self._logs))) for _ in range(len(self._logs) - MOST_LOGS)]
        for one in old:
            hang_up(one.peer)

    def close_others(self, live: Collection[AttemptId]) -> None:
        """Close the streams of attempts that are not in `live`."""
        with self._lock:
            old = [self._logs.pop(identity) for identity in self._logs.keys() - set(live)]
        for one in old:
            hang_up(one.peer)

    @contextmanager
    def _open_stream(self, verb: Verb, identity: AttemptId) -> Iterator[socket.socket]:
        peer = self._listener.open(verb, identity)
        try:
            yield peer
        finally:
            hang_up(peer)


def _send_new(peer: socket.socket, name: str, file: IO[bytes], stored: int | None = None) -> int:
    """Send the file from the depot's size to its present size, and return the latter. `stored`: the depot's
    size, if this stream knows it; a short rest is then sent without asking the depot first."""
    known = stored is not None
    if stored is None:
        size = send_request(peer, op="size", name=name).get("size")
        stored = size if isinstance(size, int) else -1
    left = os.fstat(file.fileno()).st_size - stored
    if stored < 0 or left < 0:
        raise DepotRefused(f"the depot has {stored} bytes of {name}, but this node has {stored + left}")
    if known and 0 < left <= AT_ONCE:
        file.seek(stored)
        data = file.read(left)
        left = len(data)
        send_data(peer, _request(op="append", name=name, offset=stored, length=left, now=True) + data)
        must_agree(read_line(peer))
    elif left:
        send_request(peer, op="append", name=name, offset=stored, length=left)
        file.seek(stored)
        rest = left
        while rest > 0:
            chunk = file.read(min(CHUNK, rest))
            if not chunk:
                raise WorkspaceFailure(f"{file.name} was truncated while it was being sent")
            send_data(peer, chunk)
            rest -= len(chunk)
        must_agree(read_line(peer))
    return stored + left


def _hash_file(file: IO[bytes]) -> tuple[int, str]:
    seen, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(CHUNK):
        seen.update(chunk)
        size += len(chunk)
    return size, seen.hexdigest()


@contextmanager
def _open_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of the node agent; raises OSError for a symbolic link."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise from_os(f"cannot read {path}", exc) from exc
    with os.fdopen(handle, "rb") as file:
        yield file


def _fetch_failed(err: str) -> Exception:
    if "find remote ref" in err:
        return DepotRefused(f"the coordinator's git depot does not offer the run's snapshot: {err}")
    if any(words in err for words in _BROKEN_STREAM):
        return DepotUnavailable(f"the stream to the coordinator's git depot broke off: {err}")
    return from_words("git fetch failed", err)


def _push_failed(err: str) -> Exception:
    if any(line.startswith("remote:") and is_full(line) for line in err.splitlines()):
        return DepotUnavailable(f"the depot's disk is full: {err.strip()}")
    if "rejected]" in err or "maximum allowed size" in err or "fsck error" in err:
        return DepotRefused(
            f"the coordinator's git depot refused the push: {err.strip()}", FailureKind.RESULT_REFUSED
        )
    if any(words in err for words in _BROKEN_STREAM):
        return DepotUnavailable(f"the stream to the coordinator's git depot broke off: {err.strip()}")
    return from_words("git push failed", err.strip())
