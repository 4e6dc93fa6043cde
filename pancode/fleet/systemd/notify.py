"""Notifies systemd that this process is ready, still working, or stopping (the datagrams of sd_notify)."""

from __future__ import annotations

import faulthandler
import os
import socket
import threading
from collections.abc import Callable, MutableMapping
from contextlib import suppress

from node_agent.wire.clock import Clock

NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_OFTEN = 4
"""How many notifications are sent within the manager's watchdog interval."""


class Watched:
    """Notifies systemd's watchdog of progress. The working threads call `heartbeat`, so a hanging thread
    stops the notifications. Sends nothing without a manager that requests it. Thread-safe; never raises."""

    def __init__(
        self, notify: Callable[[str], None], every_ms: int | None, clock: Clock, parts: frozenset[str]
    ) -> None:
        """`every_ms`: the notification interval; None: never. `parts`: threads that must make progress."""
        self._tell, self._every_ms, self._clock, self._parts = notify, every_ms, clock, parts
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._notified_ms: int | None = None

    def ready(self) -> None:
        self._tell("READY=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def heartbeat(self, part: str) -> None:
        """Record one step of work by this part."""
        if self._every_ms is None:
            return
        with self._lock:
            self._seen.add(part)
            now = self._clock.mono_ms()
            early = self._notified_ms is not None and now - self._notified_ms < self._every_ms
            if early or not self._parts <= self._seen:
                return
            self._seen.clear()
            self._notified_ms = now
        self._tell("WATCHDOG=1")


def read_watchdog(environ: MutableMapping[str, str], clock: Clock, parts: frozenset[str]) -> Watched:
    """Return the watchdog that `environ` requests; remove its variables, so that no child can use them."""
    address, usec, pid = (environ.pop(name, "") for name in NAMES)
    ours = pid in ("", str(os.getpid()))
    every_ms = int(usec) // 1000 // _OFTEN if address and ours and usec.isdecimal() else None
    if every_ms is not None:
        # systemd ends a hanging process by SIGABRT: the log then shows where each thread was
        faulthandler.enable()
    return Watched(_make_sender(address), every_ms, clock, parts)


def _make_sender(address: str) -> Callable[[str], None]:
    def tell(words: str) -> None:
        if address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
                made.sendto(words.encode(), "\0" + address[1:] if address[0] == "@" else address)

    return tell
