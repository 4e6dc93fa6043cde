"""Finds what a coordinator shows to others over TCP: its figures, its API."""

from __future__ import annotations

import uvicorn

from pancode.api.context import ApiContext
from pancode.api.figure_routes import figures_app
from pancode.offline.answering import QUIET
from pancode.offline.door import AGAIN_S, OpenPlace
from pancode.offline.guest_places import PlaceBounds

BOUNDS = PlaceBounds(most=32, strangers=32, each=16)
_KEEP_ALIVE_S = 65
"""Beyond the minute in which most ask again."""


class Shown(OpenPlace):
    """Figures, where an address for them was named; nothing else is there."""

    def __init__(self, context: ApiContext, again_s: float = AGAIN_S) -> None:
        def config() -> uvicorn.Config:
            served = figures_app(context)
            return uvicorn.Config(
                served, timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=1, **QUIET
            )

        texts = ("metrics", "figures are not shown", "metrics.listen")
        super().__init__(context, context.coordinator.figures_at, texts, config, BOUNDS, again_s)


def open_places(context: ApiContext) -> tuple[OpenPlace, ...]:
    """The places to start and stop; a coordinator without a door does not load them."""
    door = context.coordinator.door
    if door is None:
        return (Shown(context),)
    from pancode.offline.door import TcpDoor

    return Shown(context), TcpDoor(context, door)
