"""Starts shims by forking a warm interpreter that has imported one already: half the time of a cold start.

Standard library only. `Template` is the node agent's side. The program (`template.py IDLE_S`, a socket as
stdin) has one shim stand by, which waits for a message with its folder, and forks the next when that was
asked: no start waits for a fork. It ends when the node agent does, or when nothing was asked for IDLE_S
seconds, and who stands by with it; the shims are in sessions of their own and do not notice.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from threading import Lock

if not __package__:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from node_agent import process, shim

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
MESSAGE_BYTES = 8192  # a folder's path
FD_BYTES = 4


class Template:
    """A client of one template process, started when needed and again when it has ended. Thread-safe."""

    def __init__(self, python: str, started: Callable[[int], None], idle_s: int = IDLE_S) -> None:
        """`started` is told the pid of each template process: the caller reaps it."""
        self._python, self._started, self._idle_s = python, started, idle_s
        self._sock: socket.socket | None = None
        self._lock = Lock()

    def fork(self, folder: str, files: tuple[int, int, int]) -> process.Proc:
        """A shim for `folder` with these as stdin, stdout, stderr.

        OSError when that is not certain: a shim may come all the same; `spawned` says who had the folder.
        """
        with self._lock:
            sock = self._sock or self._start()
            try:
                rights = b"".join(fd.to_bytes(FD_BYTES, sys.byteorder) for fd in files)
                sock.sendmsg([os.fsencode(folder)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                answer = sock.recv(64).split()
                if len(answer) != 2:
                    raise ConnectionResetError(errno.ECONNRESET, "the template has ended")
            except OSError:
                self._drop()
                raise
        return int(answer[0]), int(answer[1])

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
        self._started(pid)
        ours.settimeout(REPLY_S)
        self._sock = ours
        return ours

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def serve(idle_s: int) -> None:
    """One shim stands by, and another when it was asked; until one was not asked, or came to grief."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's, meant for the node agent
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    sock = socket.socket(fileno=0)
    sock.settimeout(idle_s)
    process.preload()
    gc.freeze()
    own = os.getpid()
    while True:
        heard, asked = os.pipe()
        if os.fork() == 0:
            _stand_by(sock, own, asked)
        os.close(asked)
        word = os.read(heard, 1)
        os.close(heard)
        if not word:
            return


def _stand_by(sock: socket.socket, template: int, asked: int) -> None:
    """Get ready, wait for a folder, and be its shim. What fails before that ends the template, too."""
    status = 70
    folder = ""
    try:
        process.end_with(template)
        ready = shim.Ready(keep=(asked,))
        found = process.stat(os.getpid())
        folder, files = _told(sock)
        if folder:
            process.end_with(0)
            os.write(asked, b"+")
            # An error: who asked has given up, and nothing is begun.
            sock.send(b"%d %d" % (os.getpid(), found.start if found else 0))
            _take(sock, files, asked)
            status = shim.main(["shim", folder], ready)
    except BaseException as exc:  # nothing may return into the template's loop
        if folder:
            shim.note(folder, f"{type(exc).__name__}: {exc}")
    finally:
        os._exit(status)


def _told(sock: socket.socket) -> tuple[str, list[int]]:
    """The folder and three files; no folder when nobody asked in time, or will any more."""
    try:
        folder, ancillary, _, _ = sock.recvmsg(MESSAGE_BYTES, socket.CMSG_SPACE(3 * FD_BYTES))
    except TimeoutError:
        return "", []
    files = [
        int.from_bytes(rights[at : at + FD_BYTES], sys.byteorder)
        for _, _, rights in ancillary
        for at in range(0, len(rights), FD_BYTES)
    ]
    return os.fsdecode(folder), files


def _take(sock: socket.socket, files: list[int], asked: int) -> None:
    """The files in the place of the socket and of the template's."""
    for ignored in (signal.SIGINT, signal.SIGCHLD):
        signal.signal(ignored, signal.SIG_DFL)
    sock.detach()
    for number, fd in enumerate(files):
        os.dup2(fd, number)
    for fd in (*files, asked):
        os.close(fd)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
    os._exit(0)
