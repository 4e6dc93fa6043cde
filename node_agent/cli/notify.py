"""Tells systemd that the node agent is ready, is still working, or ends (sd_notify)."""

from __future__ import annotations

import faulthandler
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

from node_agent.wire.clock import Clock

_OFTEN = 4
"""So many times within the manager's patience it is told."""


class AgentWatchdog:
    """`beat` comes from the thread that takes the turns: where it hangs, the manager hears nothing more."""

    def __init__(self, environ: MutableMapping[str, str], clock: Clock) -> None:
        """Takes the manager's variables out of `environ`: no attempt speaks for us."""
        names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        self._address, usec, pid = (environ.pop(name, "") for name in names)
        asked = self._address and usec.isdecimal() and pid in ("", str(os.getpid()))
        self._every_ms = int(usec) // 1000 // _OFTEN if asked else None
        self._clock = clock
        self._next_ms = 0
        if asked:
            faulthandler.enable()  # it ends who hangs by SIGABRT: the log then says where each thread was

    def ready(self) -> None:
        self._tell("READY=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def beat(self) -> None:
        """One more turn has been taken."""
        if self._every_ms is not None and self._clock.mono_ms() >= self._next_ms:
            self._next_ms = self._clock.mono_ms() + self._every_ms
            self._tell("WATCHDOG=1")

    def _tell(self, words: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
                at = self._address
                made.sendto(words.encode(), "\0" + at[1:] if at[0] == "@" else at)
