"""Serves the depot on a unix socket: nonce, signed hello, grant, then the stream; one thread for each."""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.clock import Ids
from pancode.code.git.depot import Depot
from pancode.code.git.depot_git import serve_git, write_hooks
from pancode.code.git.depot_streams import LINE_MAX, Conversation
from pancode.code.git.grants import Grant, Refusal
from pancode.code.git.streams import LogStreams

FULL = "the coordinator's disk is full: free some there, the node tries again by itself"
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)
_AGAIN_S = 0.5
Authorize = Callable[[bytes, str], Grant | Refusal]
"""(hello line, nonce) -> what the stream may do. Called in the stream's thread; never raises."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The end of a stream, for the log of the coordinator. `problem` is empty when it ended as it should."""

    grant: Grant | None
    problem: str


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Seconds: for the hello, between two bytes of a log, and for one git stream; and streams at once."""

    hello_s: float = 10.0
    idle_s: float = 120.0
    git_s: float = 4 * 3600.0
    streams: int = 128


@dataclass(frozen=True, slots=True)
class DepotParts:
    """The parts of the server."""

    depot: Depot
    streams: LogStreams
    authorize: Authorize
    ids: Ids
    ended: Callable[[StreamEnd], None] = lambda end: None
    held_up: Callable[[Grant, str], None] = lambda grant, why: None
    """The grant is refused for now; the node tries again."""


class DepotServer:
    """Serves nodes until `stop`. Memory does not grow with what is sent."""

    def __init__(self, path: Path, parts: DepotParts, limits: ServerLimits | None = None) -> None:
        self._path = path
        self._parts = parts
        self._limits = limits or ServerLimits()
        self._listener: socket.socket | None = None
        self._open: dict[int, socket.socket] = {}
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._ended = threading.Event()

    def start(self) -> None:
        """Listen. A socket file that lies there is replaced: by the coordinator's lock nobody serves it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._hooks = write_hooks(self._parts.depot)
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        # Nobody can connect before listen.
        self._path.chmod(0o600)
        listener.listen(64)
        self._ended.clear()
        self._listener = listener
        self._spawn(self._accept, listener)

    def stop(self) -> None:
        """Close every stream, end its git, and return when nothing of this server runs. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._ended.set()
        # Closing alone does not wake a thread that sits in accept.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with self._lock:
            for peer in self._open.values():
                with suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join()
        self._path.unlink(missing_ok=True)

    def _spawn(self, work: Callable[[socket.socket], None], peer: socket.socket) -> None:
        thread = threading.Thread(target=self._run, args=(work, peer), name="depot", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _run(self, work: Callable[[socket.socket], None], peer: socket.socket) -> None:
        try:
            work(peer)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is not None:
            try:
                peer, _ = listener.accept()
            except OSError as exc:
                if exc.errno not in _PASSING:
                    return
                self._ended.wait(_AGAIN_S)
                continue
            with self._lock:
                busy = len(self._open) >= self._limits.streams or self._listener is None
                if not busy:
                    self._open[peer.fileno()] = peer
            if busy:
                peer.close()
            else:
                self._spawn(self._serve, peer)

    def _serve(self, peer: socket.socket) -> None:
        key, grant, problem = peer.fileno(), None, ""
        try:
            grant = self._greet(peer)
            if grant is not None:
                problem = self._stream(peer, grant)
        except Exception as exc:
            # Whatever it is, it ends this stream only, and is told.
            problem = f"{type(exc).__name__}: {exc}"
        finally:
            with self._lock:
                self._open.pop(key, None)
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()
            self._parts.ended(StreamEnd(grant, problem))

    def _greet(self, peer: socket.socket) -> Grant | None:
        """Nonce, hello, answer. The node sends nothing more before it has the answer."""
        peer.settimeout(self._limits.hello_s)
        nonce = self._parts.ids.token(32)
        peer.sendall(_line({"nonce": nonce}))
        hello = _hello(peer)
        answer = self._parts.authorize(hello, nonce) if hello else Refusal("no hello")
        if (
            isinstance(answer, Grant)
            and answer.repo_id
            and not self._parts.depot.path(answer.repo_id).is_dir()
        ):
            answer = Refusal(f"the depot has no repository {answer.repo_id}")
        if isinstance(answer, Grant) and answer.verb != "fetch" and self._parts.streams.full():
            self._parts.held_up(answer, FULL)
            answer = Refusal(FULL, retry=True)
        if isinstance(answer, Refusal):
            peer.sendall(_line({"ok": False, "why": answer.why, "retry": answer.retry}))
            return None
        peer.sendall(_line({"ok": True}))
        return answer

    def _stream(self, peer: socket.socket, grant: Grant) -> str:
        if grant.verb in ("fetch", "push"):
            return serve_git(self._parts.depot, self._hooks, grant, peer, self._limits.git_s)
        peer.settimeout(self._limits.idle_s)
        with peer.makefile("rwb") as file:
            Conversation(self._parts.streams, grant, file).serve()
        return ""


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _hello(peer: socket.socket) -> bytes:
    """One line without its end; empty when it is too long, or the peer leaves."""
    seen = b""
    while not seen.endswith(b"\n"):
        chunk = peer.recv(4096)
        seen += chunk
        if not chunk or len(seen) > LINE_MAX:
            return b""
    return seen[:-1]
