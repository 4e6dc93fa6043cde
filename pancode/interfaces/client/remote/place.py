"""The coordinator that PANCODE_COORDINATOR names: one login per command, made at the first request."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pancode.interfaces.client.remote.address import VARIABLE, RemoteAddress, read_address
from pancode.kernel.errors import UsageError

if TYPE_CHECKING:
    import socket

    from pancode.interfaces.client.remote.tunnel import LoginFacts, Tunnel


class RemoteCoordinator:
    """A coordinator on another machine. All threads of a command share one login."""

    def __init__(self, address: RemoteAddress) -> None:
        self.address = address
        self.folder: str | None = None
        """The folder on that node to use as the caller's, as it was typed."""
        self._lock = threading.Lock()
        self.tunnel: Tunnel | None = None
        self._facts: LoginFacts | None = None

    def __str__(self) -> str:
        return self.address.host

    def open(self, starts: bool, works: bool) -> socket.socket:
        """Return a connection to the coordinator; log in again if the link was cut. Raises PancodeError."""
        return self._open_tunnel()[0].open({"starts": starts, "works": works})

    def open_git(self, copy: str, service: str) -> socket.socket:
        """Return a connection to git for a checkout's remote copy, by the same login. Raises PancodeError."""
        return self._open_tunnel()[0].open({"copy": copy, "service": service})

    def facts(self) -> LoginFacts:
        """Return what the coordinator's machine reported about this login."""
        return self._open_tunnel()[1]

    @property
    def was_reached(self) -> bool:
        """Whether a login has succeeded before, so that a failure may be a temporary network problem."""
        return self._facts is not None

    def refuse(self, what: str, fix: str) -> UsageError:
        """Return the error for an action that is only possible on the coordinator's machine."""
        why = f"{VARIABLE} is set: the coordinator is on {self.address.host}"
        return UsageError(what, why=why, fix=fix, code="not_from_here")

    def _open_tunnel(self) -> tuple[Tunnel, LoginFacts]:
        with self._lock:
            if self.tunnel is None or self._facts is None or self.tunnel.cut:
                from pancode.interfaces.client.remote.tunnel import (
                    Tunnel,  # imported only for a remote coordinator
                )

                self.end()
                tunnel = Tunnel(self.address, self.folder)
                self._facts = tunnel.begin()
                self.tunnel = tunnel
            return self.tunnel, self._facts

    def end(self) -> None:
        """Close the login."""
        if self.tunnel is not None:
            self.tunnel.close()
            self.tunnel = None


_known: dict[str, RemoteCoordinator] = {}


def remote_of(environ: Mapping[str, str]) -> RemoteCoordinator | None:
    """Return the coordinator that the variable names; None if it is on this machine. Raises ConfigError."""
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if text not in _known:
        _known[text] = RemoteCoordinator(read_address(text))
        atexit.register(_known[text].end)
    return _known[text]


def cut_link() -> str:
    """Return a text that names the cut link and the reason; empty if no link was cut."""
    cut = [one.tunnel for one in _known.values() if one.tunnel is not None and one.tunnel.cut]
    return cut[0].lost().words if cut else ""


def forget_remote() -> None:
    """Make this process and its children act on this machine from now on."""
    os.environ.pop(VARIABLE, None)
