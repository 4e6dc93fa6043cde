"""Serves the fleet's figures at the address that its owner named, and nothing else there."""

from __future__ import annotations

import uvicorn

from pancode.api.context import ApiContext
from pancode.api.figure_routes import figures_app
from pancode.offline.answering import QUIET
from pancode.offline.door.place import AGAIN_S, OpenPlace
from pancode.offline.guest_places import PlaceBounds

BOUNDS = PlaceBounds(most=32, strangers=32, each=16)
FIX = (
    "it is tried again every few seconds; else name an address of this machine (ip -brief addr) and a free "
    "port (ss -ltn) in metrics.listen, then: pancode fleet down, pancode fleet up"
)


class Shown(OpenPlace):
    """Figures, where an address for them was named."""

    def __init__(self, context: ApiContext, again_s: float = AGAIN_S) -> None:
        def config(port: int) -> uvicorn.Config:
            return uvicorn.Config(
                figures_app(context),
                timeout_keep_alive=65,  # beyond the minute in which most ask again
                timeout_graceful_shutdown=1,
                **QUIET,
            )

        texts = ("metrics", "figures are not shown", FIX)
        super().__init__(context, context.coordinator.figures_at, texts, config, BOUNDS, again_s)
