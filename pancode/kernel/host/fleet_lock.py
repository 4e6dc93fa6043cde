"""Makes sure that a fleet's key is used once on this machine: a copied home starts no second coordinator.

By a name of the kernel's (an abstract unix socket), which dies with its holder, is not a file that a copy or
a backup could carry away, and is the same wherever the home lies. Systems without such names go without.

The name is public, and a run on this machine can take it as well. So its holder is believed only where a
coordinator can be: in our own process namespace, and outside of every attempt. Another holder keeps nobody
from starting; it is named.
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
"""How many ms to wait for the name, which a coordinator that ends may still have."""
_STEP_S = 0.05
_BACKLOG = 4_096
"""The length of the listening queue, in which callers wait without an answer; the kernel may allow less."""


class CopyAtWorkError(UnavailableError):
    """The fleet of this home has a coordinator already, on another copy of it."""

    code = "copy_at_work"
    retryable = False


class Alone:
    """The right to work with a key on this machine, by a socket's abstract name."""

    def __init__(self, keyid: str, home: str, clock: Clock, patience_ms: int = PATIENCE_MS) -> None:
        self._address, self._home = f"\0pancode-coordinator-{keyid}", home
        self._clock, self._patience_ms = clock, patience_ms
        self._socket: socket.socket | None = None
        self.squatter: int | None = None
        """Pid of a process that has the name and is no coordinator; 0: it cannot be seen from here."""

    def take(self) -> None:
        """Take the name. CopyAtWorkError, with the pid, while another process of ours has it."""
        if not sys.platform.startswith("linux"):
            return
        end = self._clock.mono_ms() + self._patience_ms
        while (holder := self._try()) is not None:
            if self._clock.mono_ms() >= end:
                raise self._in_use(holder)
            time.sleep(_STEP_S)

    def leave(self) -> None:
        """Give the name up. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _try(self) -> int | None:
        """Pid of another process of ours that has the name; None: it is ours now, or a stranger has it."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.bind(self._address)
        except OSError as exc:
            made.close()
            return self._holder() if exc.errno == errno.EADDRINUSE else None
        made.listen(_BACKLOG)
        self._socket = made
        return None

    def _holder(self) -> int | None:
        """Pid of another coordinator of our user that has the name.

        Another user cannot keep us from starting, and in our own process there is no copy to fear.
        """
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
            why="it uses another copy of this home; two coordinators would compete for nodes and runs",
            fix="use the home of that coordinator, or stop it there first: pancode fleet down",
        )


def _can_be_coordinator(pid: int) -> bool:
    """Whether the process may be a coordinator: it is in no sandbox (process namespace) and in no attempt."""
    try:
        beside_us = os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    except OSError:
        return False
    return beside_us and attempts_of(pid, start_of(pid)) == ()
