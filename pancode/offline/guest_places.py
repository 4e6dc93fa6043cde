"""Decides which connections a port holds at once, and which one gives way to a new one."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PlaceBounds:
    """`most`: connections in all. `strangers`: those without a token. `each`: strangers of one address."""

    most: int
    strangers: int
    each: int


@dataclass(slots=True, eq=False)
class GuestPlace:
    """One connection. `close`: cuts it at once."""

    address: str
    close: Callable[[], object] = field(default=lambda: None)
    known: bool = False
    """A valid token came over it."""
    answered: bool = False
    """A whole request came over it, and its answer is under way."""


class Places:
    """A new connection always gets in while a stranger can give way: nobody shuts others out by waiting."""

    def __init__(self, bounds: PlaceBounds) -> None:
        self._bounds = bounds
        self._held: dict[GuestPlace, None] = {}
        """The eldest first."""

    def __len__(self) -> int:
        return len(self._held)

    def enter(self, address: str) -> tuple[GuestPlace | None, GuestPlace | None]:
        """The place of a new connection, None for one to be closed, and the place that gives way to it."""
        given = self._gives_way(address := side_of(address))
        if given is not None:
            self.leave(given)
        elif len(self._held) >= self._bounds.most:
            return None, None
        place = GuestPlace(address)
        self._held[place] = None
        return place, given

    def leave(self, place: GuestPlace) -> None:
        """Idempotent."""
        self._held.pop(place, None)

    def _gives_way(self, address: str) -> GuestPlace | None:
        """Who waits for nothing of ours goes first, the eldest of them; None while there is room."""
        strangers = [one for one in self._held if not one.known]
        neighbours = [one for one in strangers if one.address == address]
        if len(neighbours) >= self._bounds.each:
            return min(neighbours, key=lambda one: one.answered)
        if len(strangers) >= self._bounds.strangers or len(self._held) >= self._bounds.most:
            return min(strangers, key=lambda one: one.answered, default=None)
        return None


def side_of(address: str) -> str:
    """The side that has this address: for IPv6 its /64, as one machine has all addresses of that."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
