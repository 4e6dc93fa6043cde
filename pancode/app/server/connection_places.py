"""Decides how many connections a port accepts at once, and which one is closed for a new one."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PlaceBounds:
    """Limits: `most` connections in all, `strangers` without a token, `each` of these from one address."""

    most: int
    strangers: int
    each: int


@dataclass(slots=True, eq=False)
class ConnectionPlace:
    """The place of one connection. `close` closes it at once."""

    address: str
    close: Callable[[], object] = field(default=lambda: None)
    known: bool = False
    """Whether the client has sent a valid token on the connection."""
    answered: bool = False
    """Whether a complete request was received, so that its response is being prepared."""


class Places:
    """The connections of a port. New ones displace those without a token, so idle clients cannot block it."""

    def __init__(self, bounds: PlaceBounds) -> None:
        self._bounds = bounds
        self._held: dict[ConnectionPlace, None] = {}
        """The connections in use, the oldest first."""

    def __len__(self) -> int:
        return len(self._held)

    def enter(self, address: str) -> tuple[ConnectionPlace | None, ConnectionPlace | None]:
        """Return the new connection's place (None if it must be closed), and the place to close for it."""
        given = self._gives_way(address := side_of(address))
        if given is not None:
            self.leave(given)
        elif len(self._held) >= self._bounds.most:
            return None, None
        place = ConnectionPlace(address)
        self._held[place] = None
        return place, given

    def leave(self, place: ConnectionPlace) -> None:
        """Free the place. Idempotent."""
        self._held.pop(place, None)

    def _gives_way(self, address: str) -> ConnectionPlace | None:
        """Return the place to close: the oldest without a pending response; None if a place is free."""
        strangers = [one for one in self._held if not one.known]
        neighbours = [one for one in strangers if one.address == address]
        if len(neighbours) >= self._bounds.each:
            return min(neighbours, key=lambda one: one.answered)
        if len(strangers) >= self._bounds.strangers or len(self._held) >= self._bounds.most:
            return min(strangers, key=lambda one: one.answered, default=None)
        return None


def side_of(address: str) -> str:
    """Return the group that an address belongs to: for IPv6 its /64, since one computer can use all of it."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
