"""The node's end of a tunnel in one SSH session: listens where the node agent looks for Redis and the depot,
and carries each connection to the coordinator over standard input and output.

Its modules import only the standard library, since the program runs as long as the link is up.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from itertools import count
from time import sleep

from node_agent.link.channels import TunnelChannels
from node_agent.wire.frames import PROTOCOL, FrameKind, line_of

NAMES = ("redis", "depot")
_BACKLOG = 128
_AGAIN_S = 0.2


class SessionTunnel:
    """Serves the coordinator until it disconnects. A connection outlives the socket through which it came."""

    def __init__(self, source: int, sink: int) -> None:
        self._channels = TunnelChannels(source, sink, self._on_frame)
        self._numbers = count(1)
        self._listening: list[socket.socket] = []

    def run(self) -> None:
        self._channels.run()
        self._shut()

    def _on_frame(self, kind: FrameKind, number: int, payload: bytes) -> None:
        """Listen in the folder that the coordinator names, and no longer in the one before."""
        if kind is not FrameKind.OPEN:
            return
        try:
            self._shut()
            for name in NAMES:
                made = socket.socket(socket.AF_UNIX)
                self._listening.append(made)
                made.bind(os.path.join(os.fsdecode(payload), f"{name}.sock"))
                made.listen(_BACKLOG)
                threading.Thread(target=self._accept, args=(made, name), name=name, daemon=True).start()
        except OSError as exc:
            self._channels.send(FrameKind.REFUSED, number, str(exc).encode())
        else:
            self._channels.send(FrameKind.OPENED, number)

    def _shut(self) -> None:
        before, self._listening = self._listening, []
        for one in before:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # ends the thread that waits there
            one.close()

    def _accept(self, listening: socket.socket, name: str) -> None:
        while listening in self._listening:
            try:
                made, _ = listening.accept()
            except OSError:  # the socket was closed, or no file descriptor is free
                sleep(_AGAIN_S)
                continue
            try:
                self._channels.carry(next(self._numbers), made, halves=True, opening=name.encode())
            except (OSError, RuntimeError):  # the link has ended, or no thread can be started
                made.close()


def main() -> None:
    """Serve the standard input and output, which then carry only frames."""
    os.umask(0o077)
    source, sink = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    # After a line break: the output of the login's start-up files may lack one.
    os.write(sink, b"\n" + line_of({"protocol": PROTOCOL}))
    SessionTunnel(source, sink).run()
