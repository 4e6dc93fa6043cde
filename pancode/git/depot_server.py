"""Serves the depot on a unix socket, one thread per stream: nonce, signed hello, grant, then git or log."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedRWPair, BytesIO
from pathlib import Path
from typing import Any, Literal

from node_agent.wire.clock import Ids
from node_agent.wire.git import AT_ONCE, snap_ref
from node_agent.wire.identity import AttemptId
from pancode.git.depot import Depot
from pancode.git.log_store import LogStreams, StreamRefused
from pancode.git.runner import end_group, safe_env

Verb = Literal["fetch", "push", "log"]
GB = 1 << 30


@dataclass(frozen=True, slots=True)
class Grant:
    """What a stream may do. `repo_id` and the refs: for fetch and push; `max_bytes`: what a node may send.

    `read_refs`: the visible refs (the run's snapshot; a push sees it too, or the node would resend the whole
    base).
    `write_ref`: the only ref that a push may create.
    """

    verb: Verb
    identity: AttemptId
    repo_id: str = ""
    read_refs: tuple[str, ...] = ()
    write_ref: str | None = None
    max_bytes: int = GB


def grant_for(verb: Verb, identity: AttemptId, repo_id: str | None, max_bytes: int = GB) -> Grant | Refusal:
    """Return an attempt's grant: to read its run's snapshot, write its own ref, or append to its own logs."""
    if verb == "log":
        return Grant(verb, identity, max_bytes=max_bytes)
    if repo_id is None:
        return Refusal(f"{identity} has no repository")
    write = identity.ref if verb == "push" else None
    return Grant(verb, identity, repo_id, (snap_ref(identity.run),), write, max_bytes)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused stream. `why`: sent to the node; `retry`: whether the same hello may succeed later."""

    why: str
    retry: bool = False


def serve_env(grant: Grant, hooks: str) -> dict[str, str]:
    """Return the environment in which git serves one grant. It holds the settings, so no file can get out of
    date. Protocol v0 only: v2 serves every object of the depot by its id, even from hidden refs."""
    settings = {
        "core.hooksPath": hooks,
        "core.bigFileThreshold": "1m",
        "uploadpack.allowFilter": "false",
        "uploadpack.keepAlive": "5",
        "uploadpack.allowTipSHA1InWant": "false",
        "uploadpack.allowReachableSHA1InWant": "false",
        "uploadpack.allowAnySHA1InWant": "false",
        "receive.fsckObjects": "true",
        "receive.maxInputSize": str(grant.max_bytes),
        "receive.denyDeletes": "true",
        "receive.denyNonFastForwards": "true",
        "receive.autogc": "false",
        "receive.unpackLimit": "1",
        "receive.keepAlive": "5",
        "receive.advertisePushOptions": "false",
        "receive.advertiseAtomic": "false",
        "receive.certNonceSeed": "",
    }
    key, shown = ("uploadpack.hideRefs", grant.read_refs)
    if grant.verb == "push":
        key, shown = "receive.hideRefs", (*grant.read_refs, *filter(None, (grant.write_ref,)))
    # The later value wins: hide all, then show what was granted.
    hidden = [(key, value) for value in ("refs/", "HEAD", *(f"!{ref}" for ref in shown))]
    return safe_env(settings, hidden) | {"PANCODE_PUSH_REF": grant.write_ref or ""}


# Git itself refuses pushes to hidden refs. The hook refuses a push to the visible snapshot, and one that
# overwrites a delivered result.
_HOOK = """#!/bin/sh
n=0
while read -r old new ref; do
  n=$((n+1))
  [ "$ref" = "${PANCODE_PUSH_REF:-none}" ] || { echo "ref not granted: $ref" >&2; exit 1; }
  case "$old" in *[!0]*) echo "already delivered: $ref" >&2; exit 1;; esac
done
[ "$n" = 1 ]
"""
_LOOK_MS = 1000
_GRACE_MS = 2000
_DRAIN_TIMES = 16
_DRAIN_IDLE_S = 5.0


def serve_git(depot: Depot, hooks: Path, grant: Grant, peer: socket.socket, limit_s: float) -> str:
    """Run git on the socket until git exits. Return '' or what went wrong. Git reads and writes the socket
    directly. If the peer disconnects, git and its children are ended."""
    program = "upload-pack" if grant.verb == "fetch" else "receive-pack"
    path = depot.path(grant.repo_id)
    peer.setblocking(True)
    process = subprocess.Popen(
        ["git", program, str(path)],
        cwd=path,
        env=serve_env(grant, str(hooks)),
        stdin=peer.fileno(),
        stdout=peer.fileno(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ended = _watch(process, peer, int(limit_s * 1000))
    finally:
        # On SIGTERM, git removes its lock files and partial packs; on SIGKILL it leaves them.
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_MS / 1000)
        end_group(process)
    if ended and grant.verb == "push":
        _drain(peer, _DRAIN_TIMES * grant.max_bytes)
    if not ended:
        return f"git {program} was stopped: the peer disconnected, or it took longer than {limit_s:g} s"
    return "" if process.returncode == 0 else f"git {program} ended with {process.returncode}"


def _watch(process: subprocess.Popen[bytes], peer: socket.socket, limit_ms: int) -> bool:
    """Return whether the process exits by itself: before the time limit, and while the peer is connected."""
    pidfd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        # With no events requested, poll reports only a hang-up of both directions; a half-closed peer is
        # still connected.
        poll.register(peer, 0)
        waited = 0
        while waited < limit_ms:
            events = {file for file, _ in poll.poll(_LOOK_MS)}
            if pidfd in events:
                return True
            if peer.fileno() in events:
                return _ends_within(pidfd, _GRACE_MS)
            waited += _LOOK_MS
        return False
    finally:
        os.close(pidfd)


def _drain(peer: socket.socket, most: int) -> None:
    """Read and discard up to `most` bytes from a refused sender. Closing with unread bytes would discard the
    refusal; the sender would see a broken stream and send everything again."""
    with suppress(OSError):
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(_DRAIN_IDLE_S)
        while most > 0 and (got := len(peer.recv(1 << 20))):
            most -= got


def _ends_within(pidfd: int, ms: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(ms))


LINE_MAX = 16 * 1024
Ask = Mapping[str, Any]
Answer = dict[str, Any]


class BadRequest(Exception):
    """A protocol violation by the node; it ends the stream."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One granted stream. The node sends requests one after another until it closes the stream.

    log:      {"op":"size","name"} -> {"ok":true,"size"}
              {"op":"append","name","offset","length"} -> {"ok":true,"go":true}, bytes -> {"ok":true,"size"}
              the same with "now":true and at most AT_ONCE bytes right after it -> {"ok":true,"size"}
              {"op":"digest","name"} -> {"ok":true,"size","sha256"}
    A refusal is {"ok":false,"why","size"?}.
    """

    streams: LogStreams
    grant: Grant
    file: BufferedRWPair

    def serve(self) -> None:
        """Serve until the node closes the stream or is idle too long. BadRequest, TornStream, OSError."""
        while (request := self._read_request()) is not None:
            try:
                self._say(self._find_handler(request)(request))
            except StreamRefused as refused:
                self._say({"ok": False, "why": str(refused), "size": refused.size})

    def _read_request(self) -> Ask | None:
        try:
            return read_line(self.file)
        except TimeoutError:  # an interactive run may be quiet for long: its node then connects again
            return None

    def _find_handler(self, request: Ask) -> Callable[[Ask], Answer]:
        match self.grant.verb, request.get("op"):
            case "log", "size":
                return self._answer_size
            case "log", "append":
                return self._append_bytes
            case "log", "digest":
                return self._answer_digest
            case verb, op:
                raise BadRequest(f"{op!r} is not a request on a {verb} stream")

    def _answer_size(self, request: Ask) -> Answer:
        return {"ok": True, "size": self.streams.size(self.grant.identity, _text(request, "name"))}

    def _answer_digest(self, request: Ask) -> Answer:
        size, sha256 = self.streams.digest(self.grant.identity, _text(request, "name"))
        return {"ok": True, "size": size, "sha256": sha256}

    def _append_bytes(self, request: Ask) -> Answer:
        name, offset, length = _text(request, "name"), _count(request, "offset"), _count(request, "length")
        read, now = self.file.read, request.get("now") is True
        if now:
            if length > AT_ONCE:
                raise BadRequest(f"{length} bytes come at once")
            # read the bytes even if the append is refused, or they would be parsed as requests
            read = BytesIO(self.file.read(length)).read
        stored = self.streams.size(self.grant.identity, name)
        if offset > stored:
            raise StreamRefused(f"gap: {stored} bytes are stored, but the append starts at {offset}", stored)
        if self.streams.others(self.grant.identity, name) + offset + length > self.grant.max_bytes:
            raise StreamRefused(
                f"the attempt's logs would exceed the {self.grant.max_bytes} bytes granted", stored
            )
        self.streams.must_have_room(offset + length - stored)
        if not now:
            self._say({"ok": True, "go": True})
        size = self.streams.append(self.grant.identity, name, offset, length, read)
        return {"ok": True, "size": size}

    def _say(self, answer: Answer) -> None:
        write_line(self.file, answer)


def read_line(file: BufferedRWPair) -> Ask | None:
    """Return the JSON object on one line, or None at the end of input. BadRequest for anything else."""
    line = file.readline(LINE_MAX)
    if not line:
        return None
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise BadRequest("the request is not a line of JSON") from exc
    if not line.endswith(b"\n") or not isinstance(request, dict):
        raise BadRequest("the request is not one JSON object on one line")
    return request


def write_line(file: BufferedRWPair, answer: Answer) -> None:
    file.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    file.flush()


def _text(request: Ask, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise BadRequest(f"{key} must be a string")
    return value


def _count(request: Ask, key: str) -> int:
    value = request.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequest(f"{key} must be a whole number, 0 or greater")
    return value


FULL = "the coordinator's disk is full: free some space there; the node then retries by itself"
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)
_AGAIN_S = 0.5
Authorize = Callable[[bytes, str], Grant | Refusal]
"""Decides from hello line and nonce what the stream may do. Runs in the stream's thread; never raises."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended, for the coordinator's log. `problem` is empty when nothing went wrong."""

    grant: Grant | None
    problem: str


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits: seconds for the hello, an idle log stream and a git stream; number of open streams."""

    hello_s: float = 10.0
    idle_s: float = 120.0
    git_s: float = 4 * 3600.0
    streams: int = 512


@dataclass(frozen=True, slots=True)
class DepotParts:
    """The objects and callbacks from which the server is built."""

    depot: Depot
    streams: LogStreams
    authorize: Authorize
    ids: Ids
    ended: Callable[[StreamEnd], None] = lambda end: None
    held_up: Callable[[Grant, str], None] = lambda grant, why: None
    """Called when a stream is refused for now and the node will retry."""


class DepotServer:
    """Serves nodes until `stop` is called. Memory use does not grow with the amount that nodes send."""

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
        """Start listening. An existing socket file is replaced: the coordinator's lock proves it stale."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # the only hook of the depot, in a separate folder outside every repository
        folder = self._parts.depot.root / "hooks"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = folder / ".pre-receive.new"
        fresh.write_text(_HOOK)
        fresh.chmod(0o700)
        fresh.rename(folder / "pre-receive")
        self._hooks = folder
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        # Set the mode of the socket before listen: until then, no client can connect.
        self._path.chmod(0o600)
        listener.listen(64)
        self._ended.clear()
        self._listener = listener
        self._spawn_thread(self._accept_peers, listener)

    def stop(self) -> None:
        """Close every stream, stop its git, and return when all threads have ended. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._ended.set()
        # Closing alone does not wake a thread that is blocked in accept.
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

    def _spawn_thread(self, work: Callable[[socket.socket], None], peer: socket.socket) -> None:
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

    def _accept_peers(self, listener: socket.socket) -> None:
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
                self._spawn_thread(self._serve, peer)

    def _serve(self, peer: socket.socket) -> None:
        key, grant, problem = peer.fileno(), None, ""
        try:
            grant = self._greet_peer(peer)
            if grant is not None:
                problem = self._serve_grant(peer, grant)
        except Exception as exc:
            # Any failure ends only this stream, and is reported.
            problem = f"{type(exc).__name__}: {exc}"
        finally:
            with self._lock:
                self._open.pop(key, None)
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()
            self._parts.ended(StreamEnd(grant, problem))

    def _greet_peer(self, peer: socket.socket) -> Grant | None:
        """Send the nonce, read and answer the hello; None if refused. Until then the node sends no more."""
        peer.settimeout(self._limits.hello_s)
        nonce = self._parts.ids.token(32)
        peer.sendall(_format_line({"nonce": nonce}))
        hello = _read_hello(peer)
        answer = self._parts.authorize(hello, nonce) if hello else Refusal("no hello")
        if (
            isinstance(answer, Grant)
            and answer.repo_id
            and not self._parts.depot.path(answer.repo_id).is_dir()
        ):
            answer = Refusal(f"repository {answer.repo_id} not found in the depot")
        if isinstance(answer, Grant) and answer.verb != "fetch" and self._parts.streams.full():
            self._parts.held_up(answer, FULL)
            answer = Refusal(FULL, retry=True)
        if isinstance(answer, Refusal):
            peer.sendall(_format_line({"ok": False, "why": answer.why, "retry": answer.retry}))
            return None
        peer.sendall(_format_line({"ok": True}))
        return answer

    def _serve_grant(self, peer: socket.socket, grant: Grant) -> str:
        if grant.verb in ("fetch", "push"):
            return serve_git(self._parts.depot, self._hooks, grant, peer, self._limits.git_s)
        peer.settimeout(self._limits.idle_s)
        with peer.makefile("rwb") as file:
            Conversation(self._parts.streams, grant, file).serve()
        return ""


def _format_line(value: dict[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _read_hello(peer: socket.socket) -> bytes:
    """Return the hello line without its line end; empty if it is too long or the peer disconnects."""
    seen = b""
    while not seen.endswith(b"\n"):
        chunk = peer.recv(4096)
        seen += chunk
        if not chunk or len(seen) > LINE_MAX:
            return b""
    return seen[:-1]
