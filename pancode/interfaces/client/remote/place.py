"""The coordinator that PANCODE_COORDINATOR names: one login for a command, made at the first question."""

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

    from pancode.interfaces.client.remote.channels import LoginFacts
    from pancode.interfaces.client.remote.tunnel import Tunnel


class RemoteCoordinator:
    """A coordinator on another node. All threads of a command share one login."""

    def __init__(self, address: RemoteAddress) -> None:
        self.address = address
        self.folder: str | None = None
        """The folder on that node in which the caller wants to stand, as it was typed."""
        self._lock = threading.Lock()
        self.tunnel: Tunnel | None = None
        self._facts: LoginFacts | None = None

    def __str__(self) -> str:
        return self.address.host

    def open(self, starts: bool, works: bool) -> socket.socket:
        """A connection to the coordinator; a login that was cut is made again. PancodeError."""
        return self._there()[0].open({"starts": starts, "works": works})

    def open_git(self, copy: str, service: str) -> socket.socket:
        """A connection to git for a checkout's copy on that node, by the same login. PancodeError."""
        return self._there()[0].open({"copy": copy, "service": service})

    def facts(self) -> LoginFacts:
        """What the coordinator's machine says about this login."""
        return self._there()[1]

    @property
    def was_reached(self) -> bool:
        """Whether a login succeeded before: then a failed one may be due to a network that comes back."""
        return self._facts is not None

    def refuse(self, what: str, fix: str) -> UsageError:
        """The error for what only a command on the coordinator's machine can do."""
        why = f"{VARIABLE} says that the coordinator is on {self.address.host}"
        return UsageError(what, why=why, fix=fix, code="not_from_here")

    def _there(self) -> tuple[Tunnel, LoginFacts]:
        with self._lock:
            if self.tunnel is None or self._facts is None or self.tunnel.cut:
                from pancode.interfaces.client.remote.tunnel import (
                    Tunnel,  # only where there is another node
                )

                self.end()
                tunnel = Tunnel(self.address, self.folder)
                self._facts = tunnel.begin()
                self.tunnel = tunnel
            return self.tunnel, self._facts

    def end(self) -> None:
        """End the login."""
        if self.tunnel is not None:
            self.tunnel.close()
            self.tunnel = None


_known: dict[str, RemoteCoordinator] = {}


def remote_of(environ: Mapping[str, str]) -> RemoteCoordinator | None:
    """The coordinator that the variable names; None: it is on this machine. ConfigError."""
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if text not in _known:
        _known[text] = RemoteCoordinator(read_address(text))
        atexit.register(_known[text].end)
    return _known[text]


def cut_link() -> str:
    """Says which link was cut, and why; empty where no link was cut."""
    cut = [one.tunnel for one in _known.values() if one.tunnel is not None and one.tunnel.cut]
    return cut[0].lost().words if cut else ""


def forget_remote() -> None:
    """Let this process, and its children, act on this machine from now on."""
    os.environ.pop(VARIABLE, None)
