"""Ensures that a fleet's key is used once on this machine: a copy of PANCODE_HOME starts no coordinator.

It binds an abstract unix socket. That name disappears with its owner, is not a file that a copy or a backup
could include, and does not depend on PANCODE_HOME's path. Systems without such names have no such check.

The name is public, and a run on this machine could bind it too. So an owner counts only if it can be a
coordinator: in the same process namespace, and outside every attempt. Another owner does not prevent a start;
it is reported.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import time

from node_agent.wire.clock import Clock
from pancode.kernel.errors import UnavailableError
from pancode.kernel.host.process_attempts import attempts_of, start_of

PATIENCE_MS = 5_000
"""How many ms to wait for the name, because a stopping coordinator may still use it."""
_STEP_S = 0.05
_BACKLOG = 4_096
"""The length of the listen queue, in which callers wait without an answer; the kernel may allow less."""


class CopyAtWorkError(UnavailableError):
    """The error that another copy of this PANCODE_HOME already has a coordinator for its fleet."""

    code = "copy_at_work"
    retryable = False


class Alone:
    """The exclusive right to use a key on this machine, by a socket's abstract name."""

    def __init__(self, keyid: str, home: str, clock: Clock, patience_ms: int = PATIENCE_MS) -> None:
        self._address, self._home = f"\0pancode-coordinator-{keyid}", home
        self._clock, self._patience_ms = clock, patience_ms
        self._socket: socket.socket | None = None
        self.squatter: int | None = None
        """Pid of a process that uses the name but is not a coordinator; 0 if it is not visible from here."""

    def take(self) -> None:
        """Take the name. CopyAtWorkError, with the pid, while another coordinator of this user has it."""
        if not sys.platform.startswith("linux"):
            return
        end = self._clock.mono_ms() + self._patience_ms
        while (holder := self._try()) is not None:
            if self._clock.mono_ms() >= end:
                raise self._in_use(holder)
            time.sleep(_STEP_S)

    def leave(self) -> None:
        """Release the name. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _try(self) -> int | None:
        """Take the name, or return the pid of the coordinator that has it. None does not mean success."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.bind(self._address)
        except OSError as exc:
            made.close()
            return self._find_holder() if exc.errno == errno.EADDRINUSE else None
        made.listen(_BACKLOG)
        self._socket = made
        return None

    def _find_holder(self) -> int | None:
        """Return the pid of this user's other coordinator that has the name, or None. A process of another
        user must not prevent a start, and this process itself is not a copy."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.setblocking(False)
            try:
                asking.connect(self._address)
            except OSError:
                return None
            peer = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid = int.from_bytes(peer[:4], sys.byteorder), int.from_bytes(peer[4:8], sys.byteorder)
        if uid != os.getuid() or pid == os.getpid():
            return None
        if not _can_be_coordinator(pid):
            self.squatter = pid
            return None
        return pid

    def _in_use(self, pid: int) -> CopyAtWorkError:
        return CopyAtWorkError(
            f"the fleet of {self._home} already has a coordinator, pid {pid}",
            why="it uses another copy of this PANCODE_HOME; two coordinators would compete for nodes and "
            "runs",
            fix="use the PANCODE_HOME of that coordinator, or stop it there first: pancode fleet down",
        )


def _can_be_coordinator(pid: int) -> bool:
    """Whether the process may be a coordinator: neither in a sandbox (pid namespace) nor in an attempt."""
    try:
        beside_us = os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    except OSError:
        return False
    return beside_us and attempts_of(pid, start_of(pid)) == ()
