"""Serves the fleet's figures at the address that its owner named, and nothing else there."""

from __future__ import annotations

import logging
import threading

import uvicorn

from pancode.adapters.listening import listening_at
from pancode.api.context import ApiContext
from pancode.api.figure_routes import figures_app
from pancode.domain.place import ListenAddress
from pancode.offline.answering import QUIET, Answering

log = logging.getLogger("pancode.metrics")

MOST_AT_ONCE = 16
"""More clients than these are asked to come again: a port may be open to many."""


AGAIN_S = 5.0
FIX = (
    "it is tried again every few seconds; else name an address of this machine (ip -brief addr) and a free "
    "port (ss -ltn) in metrics.listen, then: pancode fleet down, pancode fleet up"
)


class Shown:
    """Nothing listens where no address was named. What goes wrong here stops no coordinator."""

    def __init__(self, context: ApiContext, again_s: float = AGAIN_S) -> None:
        self._context = context
        self._place = context.coordinator.figures_at
        self._again_s = again_s
        self._stopping = threading.Event()
        self._trying: threading.Thread | None = None
        self._answering: Answering | None = None

    def start(self) -> None:
        """Trouble is told by the status, once by the log, and tried again: a network may come up later."""
        if self._place is None or self._opened(self._place):
            return
        self._trying = threading.Thread(target=self._try, args=(self._place,), name="metrics", daemon=True)
        self._trying.start()

    def stop(self) -> None:
        """Idempotent."""
        self._stopping.set()
        if self._trying is not None:
            self._trying.join()
        if self._answering is not None:
            self._answering.stop()

    def _try(self, place: ListenAddress) -> None:
        while not self._stopping.wait(self._again_s) and not self._opened(place):
            pass

    def _opened(self, place: ListenAddress) -> bool:
        try:
            socket = listening_at(place)
        except OSError as exc:
            what = f"figures are not shown at {place}, which {place.origin} names"
            if not self._context.closed:
                log.error("%s: %s; fix: %s", what, exc, FIX)
            self._context.closed[:] = [{"what": what, "why": str(exc), "fix": FIX}]
            return False
        self._context.closed.clear()
        config = uvicorn.Config(
            figures_app(self._context),
            limit_concurrency=MOST_AT_ONCE,
            timeout_keep_alive=65,  # beyond the minute in which most ask again
            timeout_graceful_shutdown=1,
            **QUIET,
        )
        self._answering = Answering(config, "metrics")
        self._answering.start(socket)
        log.info("figures are shown at %s", place)
        return True
