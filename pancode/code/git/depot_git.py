"""Serves git over an open socket: upload-pack or receive-pack gets the socket itself, and one grant."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from pancode.code.git.depot import Depot
from pancode.code.git.grants import Grant, serve_env
from pancode.code.git.safe import end_group

# Hidden refs cannot be pushed; left to refuse: a push to the visible snapshot, or over a delivered result.
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


def write_hooks(depot: Depot) -> Path:
    """The depot's one hook, in a folder of its own outside of every repository."""
    folder = depot.root / "hooks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / ".pre-receive.new"
    fresh.write_text(_HOOK)
    fresh.chmod(0o700)
    fresh.rename(folder / "pre-receive")
    return folder


def serve_git(depot: Depot, hooks: Path, grant: Grant, peer: socket.socket, limit_s: float) -> str:
    """Run git on the socket until it ends; '' or what went wrong.

    No byte passes through this process. A peer that vanishes takes git and its children with it.
    """
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
        _ask_to_end(process)
    if ended and grant.verb == "push":
        _drain(peer, _DRAIN_TIMES * grant.max_bytes)
    if not ended:
        return f"git {program} was ended: the peer is gone, or it took longer than {limit_s:g} s"
    return "" if process.returncode == 0 else f"git {program} ended with {process.returncode}"


def _watch(process: subprocess.Popen[bytes], peer: socket.socket, limit_ms: int) -> bool:
    """Wait for the process to end by itself, for as long as the peer is there; False when it did not."""
    pidfd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        # No event asked for: only a hang-up of both directions is told, a half-closed peer is still there.
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
    """A sender that was refused in the middle may finish: closed over unread bytes, it loses the reason.

    It would take that for a broken stream, and send all of it again.
    """
    with suppress(OSError):
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(_DRAIN_IDLE_S)
        while most > 0 and (got := len(peer.recv(1 << 20))):
            most -= got


def _ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """A git that is asked takes its lock files and half a pack away; one that is killed leaves them."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_MS / 1000)
    end_group(process)


def _ends_within(pidfd: int, ms: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(ms))
