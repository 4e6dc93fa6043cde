"""Tells systemd that we are ready, are still working, or end (the datagrams of sd_notify)."""

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
"""How many notifications are sent within the time that the manager waits for one."""


class Watched:
    """Tells systemd's watchdog of progress. The working threads call `heartbeat`, so that it stops if one
    hangs.

    Without a manager that asks for it, nothing is told. Thread-safe; never raises.
    """

    def __init__(
        self, notify: Callable[[str], None], every_ms: int | None, clock: Clock, parts: frozenset[str]
    ) -> None:
        """`every_ms`: how often the manager is told; None: never. `parts`: all of them must make progress."""
        self._tell, self._every_ms, self._clock, self._parts = notify, every_ms, clock, parts
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._notified_ms: int | None = None

    def ready(self) -> None:
        self._tell("READY=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def heartbeat(self, part: str) -> None:
        """Note one step of work by this part."""
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
    """The watchdog that the manager asks for in `environ`; its variables go: no child may speak for us."""
    address, usec, pid = (environ.pop(name, "") for name in NAMES)
    ours = pid in ("", str(os.getpid()))
    every_ms = int(usec) // 1000 // _OFTEN if address and ours and usec.isdecimal() else None
    if every_ms is not None:
        faulthandler.enable()  # it ends who hangs by SIGABRT: the log then says where each thread was
    return Watched(_sender(address), every_ms, clock, parts)


def _sender(address: str) -> Callable[[str], None]:
    def tell(words: str) -> None:
        if address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
                made.sendto(words.encode(), "\0" + address[1:] if address[0] == "@" else address)

    return tell
