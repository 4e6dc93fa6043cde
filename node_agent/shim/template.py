"""Starts shims by forking a warm interpreter that has imported one already: half the time of a cold start.

Standard library only. `Template` is the node agent's side. The program (`template.py IDLE_S`, a socket as
stdin) has a shim stand by, which waits for a message with its folder, and forks one when none does: no start
waits for a fork, and most need none, as a shim comes back (`standby.py`). It ends when the node agent does,
or when nothing was asked for IDLE_S seconds, and who stands by with it; those at work do not notice.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import sys
import time
from threading import Lock

if not __package__:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from node_agent.shim import process, standby

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable
else:
    import _signal as signal
    import _socket as socket  # the C parts: the modules around them cost more than all the rest

IDLE_S = 60
REPLY_S = 30


class Template:
    """A client of one template process, started when needed and again when it has ended. Thread-safe."""

    def __init__(self, python: str, started: Callable[[int], None], idle_s: int = IDLE_S) -> None:
        """`started` is told the pid of each template process: the caller reaps it."""
        self._python, self._started, self._idle_s = python, started, idle_s
        self._sock: socket.socket | None = None
        self._life: int | None = None
        """Of the process; None where the kernel or the interpreter has no such thing."""
        self._lock = Lock()

    def fork(self, folder: str, files: tuple[int, int, int]) -> process.Proc:
        """A shim for `folder` with these as stdin, stdout, stderr.

        OSError when that is not certain: a shim may come all the same; `spawned` says who had the folder.
        """
        with self._lock:
            sock = self._sock or self._start()
            try:
                rights = b"".join(fd.to_bytes(standby.FD_BYTES, sys.byteorder) for fd in files)
                sock.sendmsg([os.fsencode(folder)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                self._await(sock)
                answer = sock.recv(64).split()
                if len(answer) != 2:
                    raise ConnectionResetError(errno.ECONNRESET, "the template has ended")
            except OSError:
                self._drop()
                raise
        return int(answer[0]), int(answer[1])

    def _await(self, sock: socket.socket) -> None:
        """An answer. Its shims at work hold the socket, too: it alone would not tell the template's end."""
        poll = select.poll()
        for fd in (sock.fileno(), self._life):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        if sock.fileno() not in dict(poll.poll(REPLY_S * 1000)):
            raise ConnectionResetError(errno.ECONNRESET, "the template has ended, or stands still")

    def close(self) -> None:
        """End the template; shims go on."""
        with self._lock:
            self._drop()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            argv = [self._python, "-I", "-S", os.path.abspath(__file__), str(self._idle_s)]
            pid = os.posix_spawn(
                self._python,
                argv,
                {"LANG": "C.UTF-8"},
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._life = process.pidfd(pid)
        self._started(pid)
        ours.settimeout(REPLY_S)
        self._sock = ours
        return ours

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._life is not None:
            os.close(self._life)
            self._life = None


class Pool:
    """The processes below a template: at least one stands by, or the template ends."""

    def __init__(self, sock: socket.socket, idle_s: int) -> None:
        self._sock, self._idle_ms = sock, idle_s * 1000
        self._idle: set[int] = set()
        self._busy: set[int] = set()
        """By the pipe on which each says what it does."""
        self._poll = select.poll()
        self._asked_ms = _mono_ms()

    def run(self) -> None:
        """Until nothing was asked for a while, or one who stood by came to grief."""
        while self._idle or _mono_ms() - self._asked_ms < self._idle_ms:
            if not self._idle:
                self._fork()
            for fd, _ in self._poll.poll():
                if not self._hear(fd, os.read(fd, 1)):
                    return

    def _fork(self) -> None:
        heard, word = os.pipe()
        if os.fork() == 0:
            _stand_by(self._sock, word)
        os.close(word)
        self._idle.add(heard)
        self._poll.register(heard, select.POLLIN)

    def _hear(self, fd: int, word: bytes) -> bool:
        """False: one who stood by has ended, and did not say why."""
        stood = fd in self._idle
        self._idle.discard(fd)
        match word:
            case standby.TAKEN:
                self._busy.add(fd)
                self._asked_ms = _mono_ms()
            case standby.BACK:
                self._busy.discard(fd)
                self._idle.add(fd)
            case standby.TIRED:
                self._busy.add(fd)  # until its end is seen
            case _:
                self._busy.discard(fd)
                self._poll.unregister(fd)
                os.close(fd)
                return not stood
        return True


def serve(idle_s: int) -> None:
    """The program. Who is at work then goes on, and finds nobody to come back to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's, meant for the node agent
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    sock = socket.socket(fileno=os.dup(0))
    sock.settimeout(idle_s)
    process.preload()
    gc.freeze()
    Pool(sock, idle_s).run()
    sock.shutdown(socket.SHUT_RDWR)  # those at work hold it, too: nobody is to ask there any more


def _stand_by(sock: socket.socket, word: int) -> None:
    """Nothing may return into the template's loop."""
    status = 70
    try:
        status = standby.StandBy(sock, os.getppid(), word).run()
    finally:
        os._exit(status)


def _mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000


if __name__ == "__main__":
    serve(int(sys.argv[1]))
    os._exit(0)
