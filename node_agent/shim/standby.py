"""Waits below the template until it is asked, is a shim for one folder, and waits again after a short one.

Standard library only. A fork and the pages that it copies are dearer than most of what a shim does: one that
has left nothing behind may serve another attempt. What else could be left of it, such as a fault, ends it.
"""

from __future__ import annotations

import os
import sys

from node_agent.shim import process, shim, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
else:
    import _signal as signal  # the C parts: the modules around them cost more than all the rest
    import _socket as socket

TAKEN, BACK, TIRED = b"+", b"-", b"."
"""Said to the template: asked, and no longer standing by; standing by again; not asked in time."""
AGAIN_S = 5
"""Who comes back waits so long at most: what many at once have left does not stay."""
MOST = 200
"""Phases of one process."""
MESSAGE_BYTES = 8192  # a folder's path
FD_BYTES = 4
GATEWAY = "gateway"
"""In an attempt's folder: what ends with the process of the work's shim, which must then end."""


class StandBy:
    """One process of the pool. `sock`: where folders are told; `word`: a pipe to the template."""

    def __init__(self, sock: socket.socket, template: int, word: int) -> None:
        self._sock, self._template, self._word = sock, template, word
        self._heard = -1

    def run(self) -> int:
        """The status of the last phase. What fails before one begins is this process's end, too."""
        process.end_with(self._template)
        ready = shim.Ready(keep=(self._word, self._sock.fileno()))
        found = process.stat(os.getpid())
        answer = b"%d %d" % (os.getpid(), found.start if found else 0)
        status = 0
        for _ in range(MOST):
            folder, files = self._told()
            if not folder:
                break
            status = self._serve(folder, files, answer, ready)
            if status != shim.ENDED or not _may_come_back(folder):
                break
            self._come_back(ready)
        return status

    def _told(self) -> tuple[str, list[int]]:
        """The folder and three files; none when nobody asked in time, or, without a word, ever will."""
        try:
            folder, ancillary, _, _ = self._sock.recvmsg(MESSAGE_BYTES, socket.CMSG_SPACE(3 * FD_BYTES))
        except TimeoutError:
            os.write(self._word, TIRED)
            return "", []
        files = [
            int.from_bytes(rights[at : at + FD_BYTES], sys.byteorder)
            for _, _, rights in ancillary
            for at in range(0, len(rights), FD_BYTES)
        ]
        return os.fsdecode(folder), files

    def _serve(self, folder: str, files: list[int], answer: bytes, ready: shim.Ready) -> int:
        try:
            process.end_with(0)
            os.write(self._word, TAKEN)
            self._sock.send(answer)  # an error: who asked has given up, and nothing is begun
            for ignored in (signal.SIGINT, signal.SIGCHLD):
                signal.signal(ignored, signal.SIG_DFL)
            while signal.sigtimedwait(step.WAKE, 0) is not None:
                continue  # meant for what it served before
            self._take(files)
            return shim.main(["shim", folder], ready)
        except BaseException as exc:
            shim.note(folder, f"{type(exc).__name__}: {exc}")
            raise

    def _take(self, files: list[int]) -> None:
        """As its own; the second one once more, which no program inherits: its end says that of the phase."""
        for number, fd in enumerate(files):
            os.dup2(fd, number)
        null, self._heard, log = files
        os.set_inheritable(self._heard, False)
        os.close(null)
        os.close(log)

    def _come_back(self, ready: shim.Ready) -> None:
        """Before who asked hears of the end, as the next start may follow at once."""
        process.end_with(self._template)
        ready.birth = process.Birth(process.newest())
        self._sock.settimeout(AGAIN_S)
        os.dup2(self._sock.fileno(), 0)  # who looks sees by it what it does
        shim.to_null(2)  # it was a file of the folder
        os.write(self._word, BACK)
        os.close(self._heard)


def _may_come_back(folder: str) -> bool:
    """Whether nothing is left of the phase that its process was part of."""
    if any(os.path.exists(f"{at}/{GATEWAY}") for at in (folder, os.path.dirname(folder))):
        return False
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False
