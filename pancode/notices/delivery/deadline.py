"""Gives a conversation with another side one deadline for all of it: name, connection, answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue


class Deadline:
    """One conversation. The other side may send byte by byte: a timeout of each step would never end it."""

    def __init__(self) -> None:
        self._lock, self._over = threading.Lock(), False
        self._wire: socket.socket | None = None
        self._ends: SimpleQueue[tuple[str, Exception | None]] = SimpleQueue()

    def hold(self, wire: socket.socket) -> None:
        """What is cut when the time is over. TimeoutError where it is over already.

        A descriptor of our own: TLS takes the given one away from its object.
        """
        with self._lock:
            if self._over:
                raise TimeoutError
            self._wire = wire.dup()

    def run(self, work: Callable[[], str], seconds: float) -> str:
        """What `work` gives or raises; TimeoutError. By a thread, as a resolver cannot be ended."""
        threading.Thread(target=self._go, args=(work,), name="post", daemon=True).start()
        try:
            result, error = self._ends.get(timeout=seconds)
        except Empty:
            self._cut()
            raise TimeoutError(f"no whole answer within {seconds:g} s") from None
        if error is not None:
            raise error
        return result

    def _go(self, work: Callable[[], str]) -> None:
        try:
            self._ends.put((work(), None))
        except Exception as exc:  # whoever waits raises it
            self._ends.put(("", exc))
        finally:
            with self._lock:
                if self._wire is not None:
                    self._wire.close()
                self._wire = None

    def _cut(self) -> None:
        """Whoever reads or writes there is woken by it."""
        with self._lock:
            self._over = True
            if self._wire is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._wire, socket.SHUT_RDWR)
