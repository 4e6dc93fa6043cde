"""Shows the fleet's figures at the address that its owner named, and nothing else there."""

from __future__ import annotations

import logging

import uvicorn

from pancode.adapters.listening import listening_at
from pancode.api.desk import Desk
from pancode.api.figure_routes import figures_app
from pancode.offline.answering import QUIET, Answering

log = logging.getLogger("pancode.metrics")

MOST_AT_ONCE = 16
"""Who asks beyond them is told to come again: a port may be open to many."""


FIX = (
    "name an address of this machine (ip -brief addr) and a free port (ss -ltn) in metrics.listen, "
    "then: pancode fleet down, pancode fleet up"
)


class Shown:
    """Nothing listens where no address was named. What goes wrong here stops no coordinator."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._place = desk.coordinator.figures_at
        self._answering: Answering | None = None

    def start(self) -> None:
        """Trouble is told by the status, once by the log."""
        if self._place is None:
            return
        try:
            opened = listening_at(self._place)
        except OSError as exc:
            what = f"figures are not shown at {self._place}, which {self._place.origin} names"
            self._desk.closed.append({"what": what, "why": str(exc), "fix": FIX})
            log.error("%s: %s; fix: %s", what, exc, FIX)
            return
        config = uvicorn.Config(
            figures_app(self._desk),
            limit_concurrency=MOST_AT_ONCE,
            timeout_keep_alive=65,  # beyond the minute in which most ask again
            timeout_graceful_shutdown=1,
            **QUIET,
        )
        self._answering = Answering(config, "metrics")
        self._answering.start(opened)

    def stop(self) -> None:
        """Idempotent."""
        if self._answering is not None:
            self._answering.stop()
