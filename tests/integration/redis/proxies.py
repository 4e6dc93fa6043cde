"""A TCP link in front of a server that can fail in the two ways that matter: silence, and a lost answer."""

from __future__ import annotations

import socket
import threading

Address = str | tuple[str, int]


class Link:
    """Forwards loopback TCP to the server.

    `go_silent` swallows everything on the connections of now, without closing them: a half-open tunnel.
    `lose` swallows the next answer that holds these bytes, and breaks that connection.
    """

    def __init__(self, server: Address) -> None:
        self._server = server
        self._needle: bytes | None = None
        self._silent: set[socket.socket] = set()
        self._open: list[socket.socket] = []
        self._refuse = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place: tuple[str, int] = ("127.0.0.1", self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def go_silent(self, new_ones_too: bool = False) -> None:
        self._silent.update(self._open)
        self._refuse = new_ones_too

    def go_silent_for_new_ones(self) -> None:
        self._refuse = True

    def work_again(self) -> None:
        """For new connections; the silent ones stay silent."""
        self._refuse = False

    def lose(self, needle: bytes) -> None:
        self._needle = needle

    @property
    def lost(self) -> bool:
        return self._needle is None

    def close(self) -> None:
        # Closing alone does not wake who sits in accept: a call that the kernel begins again would then take
        # the connections of whatever has that number by now.
        _shut(self._listener)
        self._threads[0].join(5)
        self._listener.close()
        for one in self._open:
            _shut(one)
            one.close()
        for thread in self._threads[1:]:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX if isinstance(self._server, str) else socket.AF_INET)
            try:
                far.connect(self._server)
            except OSError:  # the server is gone: so is this connection
                near.close()
                far.close()
                continue
            self._open += [near, far]
            if self._refuse:
                self._silent.update((near, far))
            for ends in ((near, far, False), (far, near, True)):
                thread = threading.Thread(target=self._pump, args=ends, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                if source in self._silent:
                    continue
                if answers and self._needle is not None and self._needle in data:
                    self._needle = None
                    break
                target.sendall(data)
        except OSError:
            return
        if source not in self._silent:
            _shut(source)
            _shut(target)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
