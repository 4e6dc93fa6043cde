"""Listens at an address that the owner named, in its own thread; tries again while it is not to be had."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

import uvicorn

from pancode.api.context import ApiContext
from pancode.fleet.direct.listening import listening_at
from pancode.nodes.place import ListenAddress
from pancode.offline.answering import Answering
from pancode.offline.guest_places import PlaceBounds

AGAIN_S = 5.0
_FIX = (
    "it is tried again every few seconds; else name an address of this machine (ip -brief addr) and a free "
    "port (ss -ltn) in {}, then: pancode fleet down, pancode fleet up"
)


class OpenPlace:
    """Nothing listens where no address was named. What goes wrong here stops no coordinator.

    `name`: of its thread and its log. `words`: what is not open, as the setting named `by` says. `config`:
    made when it is opened. `bounds`: of the connections that it holds.
    """

    def __init__(
        self,
        context: ApiContext,
        place: ListenAddress | None,
        texts: tuple[str, str, str],
        config: Callable[[], uvicorn.Config],
        bounds: PlaceBounds,
        again_s: float = AGAIN_S,
    ) -> None:
        self._context = context
        self._place = place
        self._name, self._words, by = texts
        self._fix = _FIX.format(by)
        self._config, self._bounds = config, bounds
        self._again_s = again_s
        self._log = logging.getLogger(f"pancode.{self._name}")
        self._stopping = threading.Event()
        self._trying: threading.Thread | None = None
        self._answering: Answering | None = None

    def start(self) -> None:
        """Trouble is told by the status, once by the log, and tried again: a network may come up later."""
        if self._place is None or self._open(self._place):
            return
        self._trying = threading.Thread(target=self._try, args=(self._place,), name=self._name, daemon=True)
        self._trying.start()

    def stop(self) -> None:
        """Idempotent."""
        self._stopping.set()
        if self._trying is not None:
            self._trying.join()
        if self._answering is not None:
            self._answering.stop()

    def opened(self, port: int) -> None:
        """It listens now, at that port."""

    def _try(self, place: ListenAddress) -> None:
        while not self._stopping.wait(self._again_s) and not self._open(place):
            pass

    def _open(self, place: ListenAddress) -> bool:
        what = f"{self._words} at {place}, which {place.origin} names"
        others = [one for one in self._context.closed if one["what"] != what]
        try:
            made = listening_at(place)
            port = int(made.getsockname()[1])
            self._serve(made)
        except OSError as exc:  # the address, or a certificate that cannot be read
            if len(others) == len(self._context.closed):
                self._log.error("%s: %s; fix: %s", what, exc, self._fix)
            self._context.closed[:] = [*others, {"what": what, "why": str(exc), "fix": self._fix}]
            return False
        self._context.closed[:] = others
        self.opened(port)
        self._log.info("open at %s, port %d", place, port)
        return True

    def _serve(self, made: socket.socket) -> None:
        try:
            config = self._config()
            config.load()  # reads a certificate: OSError
        except OSError:
            made.close()
            raise
        self._answering = Answering(config, self._name, bounds=self._bounds)
        self._answering.start(made)
