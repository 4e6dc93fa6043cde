"""Finds what a coordinator shows to others over TCP: its figures, its API."""

from __future__ import annotations

from pancode.api.context import ApiContext
from pancode.offline.door.figures import Shown
from pancode.offline.door.place import OpenPlace


def open_places(context: ApiContext) -> tuple[OpenPlace, ...]:
    """The places to start and stop; a coordinator without a door does not load them."""
    door = context.coordinator.door
    if door is None:
        return (Shown(context),)
    from pancode.offline.door.server import TcpDoor

    return Shown(context), TcpDoor(context, door)
