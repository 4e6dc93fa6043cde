"""Network addresses: those where this machine listens, and how nodes are reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pancode.kernel.declared import from_json, to_json
from pancode.kernel.errors import ConfigError
from pancode.kernel.records import Node


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address to listen on; `origin`: where it is configured."""

    host: str
    port: int
    origin: str
    names: tuple[str, ...] = ()
    """Names, in addition to the address, that the Host header of an HTTP request may have."""

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can reach the address."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # the address is a host name
            return self.host.lower() == "localhost"

    def is_called(self, host: str) -> bool:
        """Return whether a request with this Host header is meant for this listener.

        A foreign web page can point its own name to this machine and read the response (DNS rebinding). That
        works only with a name, so every IP address is accepted.
        """
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        name = name.removeprefix("[").removesuffix("]").removesuffix(".").lower()
        known = ("localhost", self.host, *self.names)
        return _is_address(name) or name in (one.lower() for one in known)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ApiListener:
    """Where the API listens over TCP. `cert`, `key`: for TLS; None: without TLS, only for this machine."""

    place: ListenAddress
    cert: Path | None = None
    key: Path | None = None

    @property
    def scheme(self) -> str:
        return "http" if self.cert is None else "https"

    def url(self, port: int) -> str:
        """Return the URL at which a user on this machine opens the API."""
        return f"{self.scheme}://{ListenAddress(self.place.host, port, '')}"


def place_of(text: str, origin: str, example: str, least: int = 1) -> ListenAddress:
    """Parse a listen address; port 0, if `least` allows it, means any free port. ConfigError. `example`: the
    setting with a valid value."""
    host, _, port = text.strip().rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or not port.isdecimal() or not least <= int(port) < 1 << 16 or (":" in bare and bare == host):
        raise ConfigError(
            f"{origin} is not a valid address: {text}",
            why="the address must be HOST:PORT",
            fix=f"set an address of this machine and a port: {example}",
        )
    return ListenAddress(bare, int(port), origin)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:  # the address is a host name
        return False
    return True


@dataclass(frozen=True, slots=True)
class Reach:
    """How a node is reached: the value of `Node.target`, plain JSON. SSH code reads `target` and `pins`."""

    target: Mapping[str, Any]
    pins: Mapping[str, str] = field(default_factory=dict)
    """The accepted host keys in known_hosts format, by host and port."""
    local: bool = False
    """Whether the node is this machine, reached through PanCode's own SSH server."""
    local_home: str | None = None
    """HOME of that server's commands; None: the user's HOME."""
    node_home: str | None = None
    uid: int | None = None
    installed_home: str | None = None
    """The node home found by the probe; None before the first bring-up."""
    is_twin: bool = False
    """Whether the computer is in the fleet under another name, so that its files belong to that node."""
    fleet_key: bool = False
    """Whether the owner wants the fleet's key on the node, so that the link can reconnect while no user is
    present."""
    halted: bool = False
    """Whether a user has stopped the node agent: then only a user can start it again."""

    @classmethod
    def of(cls, node: Node) -> Reach:
        """Return the value from the node's ledger row."""
        return from_json(cls, node.target)


def change_reach(node: Node, **changes: Any) -> Node:
    """Return the node with these fields of `Reach` changed."""
    return replace(node, target=to_json(replace(Reach.of(node), **changes)))
