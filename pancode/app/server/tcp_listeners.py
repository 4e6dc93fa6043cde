"""The coordinator's optional TCP ports: metrics, the API, and the local web console."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import uvicorn
from starlette.routing import BaseRoute

from pancode import __version__
from pancode.app.http_routes import VERBS
from pancode.app.listening import listening_at
from pancode.app.server.connection_places import PlaceBounds
from pancode.app.server.http_server import QUIET, Answering
from pancode.fleet.place import ApiListener, ListenAddress
from pancode.interfaces.http.access.codes import has_browsers
from pancode.interfaces.http.access.request_filter import ListenerRules
from pancode.interfaces.http.access.tokens import unconfirm_browsers
from pancode.interfaces.http.context import ApiContext
from pancode.kernel.host.files import write_durable
from pancode.reports.routes import figures_app

AGAIN_S = 5.0
_FIX = (
    "PanCode retries every few seconds; otherwise set {} to an address of this machine (ip -brief addr) and "
    "a free port (ss -ltn), then: pancode fleet down, pancode fleet up"
)


class OpenPlace:
    """A port that opens if its setting names an address. Its failures do not stop the coordinator.

    `texts`: the name of its thread and log, the start of its error message, and the setting. `config`: called
    when the port is opened. `bounds`: limits of its connections.
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
        """Open the port. A failure is logged, shown in the status and retried: networks may come up later."""
        if self._place is None or self._open(self._place):
            return
        self._trying = threading.Thread(target=self._try, args=(self._place,), name=self._name, daemon=True)
        self._trying.start()

    def stop(self) -> None:
        """Close the port. Idempotent."""
        self._stopping.set()
        if self._trying is not None:
            self._trying.join()
        if self._answering is not None:
            self._answering.stop()

    def opened(self, port: int) -> None:
        """Called with the port's number when it is open."""

    def _try(self, place: ListenAddress) -> None:
        while not self._stopping.wait(self._again_s) and not self._open(place):
            pass

    def _open(self, place: ListenAddress) -> bool:
        what = f"{self._words} at {place}, set by {place.origin}"
        others = [one for one in self._context.closed if one["what"] != what]
        try:
            made = listening_at(place)
            port = int(made.getsockname()[1])
            self._serve(made)
        except OSError as exc:  # the address is unusable, or a certificate unreadable
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
            config.load()  # reads a certificate, so it may raise OSError
        except OSError:
            made.close()
            raise
        self._answering = Answering(config, self._name, bounds=self._bounds)
        self._answering.start(made)


CONSOLE = "pancode.interfaces.web.files"
"""A module whose `routes(fleet)` returns the routes of the web console; it may be missing."""
BOUNDS = PlaceBounds(most=256, strangers=128, each=32)


class TcpListener(OpenPlace):
    """The API over TCP, for clients with a token."""

    def __init__(self, context: ApiContext, listener: ApiListener, again_s: float = AGAIN_S) -> None:
        self._facts, self._listener = context.facts, listener
        texts, config = (
            ("api", "the API is not open", "api.listen"),
            partial(make_listener_config, context, listener),
        )
        super().__init__(context, listener.place, texts, config, BOUNDS, again_s)

    def opened(self, port: int) -> None:
        self._facts["api"] = self._listener.url(port)


def make_listener_config(context: ApiContext, listener: ApiListener) -> uvicorn.Config:
    """Return the server's configuration. Loading it raises OSError if the certificate is unreadable."""
    from pancode.interfaces.http.tcp import make_tcp_app  # most coordinators do not need this import

    rules = ListenerRules(listener.scheme, listener.place.host, listener.place.names)
    return uvicorn.Config(
        make_tcp_app(context, VERBS, rules, list_console_routes(context.core.fleet)),
        timeout_graceful_shutdown=2,
        headers=[("Pancode-Version", __version__)],
        ssl_certfile=listener.cert,
        ssl_keyfile=listener.key,
        proxy_headers=False,
        **QUIET,
    )


def list_console_routes(fleet: str) -> Sequence[BaseRoute]:
    """Return the routes of the web console; empty if this package has none."""
    try:
        if importlib.util.find_spec(CONSOLE) is None:
            return ()
    except ModuleNotFoundError:
        return ()
    found: Sequence[BaseRoute] = importlib.import_module(CONSOLE).routes(fleet)
    return found


HOST, KEPT_PORT = "127.0.0.1", "web/port"
LOOK_TICKS = 600
"""Tenths of a second between two checks for browser sessions."""


class LoopbackListener:
    """A port on 127.0.0.1 that is open only while a browser has a session: a browser tab sends its token to
    whatever program has the port. For the same reason a new coordinator opens the same port again."""

    def __init__(self, context: ApiContext, kept: Path, look_ticks: int = LOOK_TICKS) -> None:
        """`kept`: the file that stores the port number."""
        self._context, self._kept, self._look_ticks = context, kept, look_ticks
        self._lock, self._log = threading.Lock(), logging.getLogger("pancode.web")
        self._answering: Answering | None = None
        self._ticks, self._url = 0, ""

    def start(self) -> None:
        """Open the listener if browser sessions remain, unless the settings define an API address."""
        if self._context.coordinator.listener is None and self._kept.exists() and self._is_used():
            with suppress(OSError):
                self.url()

    def url(self) -> str:
        """Return the listener's URL, opening it if needed; OSError if it cannot be opened."""
        with self._lock:
            if self._answering is None or not self._answering.is_open:
                self.stop()
                self._open()
            self._ticks = 0
            return self._url

    def stop(self) -> None:
        """Close the listener. Idempotent."""
        if self._answering is not None:
            self._answering.stop()

    def _open(self) -> None:
        try:
            made = listening_at(ListenAddress(HOST, int(self._kept.read_text()), "pancode web"))
        except (OSError, ValueError):  # never opened, or another program has the port now
            made = listening_at(ListenAddress(HOST, 0, "pancode web"))
            if self._kept.exists():
                self._log.warning("its port is taken: every browser needs a new link to land or approve")
                unconfirm_browsers(self._context.core)
        port = int(made.getsockname()[1])
        listener = ApiListener(ListenAddress(HOST, port, "pancode web"))
        try:
            write_durable(self._kept, str(port).encode())
        except OSError:
            made.close()
            raise
        self._answering = Answering(
            make_listener_config(self._context, listener), "web", self._end_unused, BOUNDS
        )
        self._answering.start(made)
        self._url = listener.url(port)

    def _end_unused(self) -> None:
        self._ticks += 1
        if self._ticks >= self._look_ticks and self._answering is not None:
            self._ticks = 0
            if not self._is_used():
                self._answering.end()

    def _is_used(self) -> bool:
        return has_browsers(self._context.core)


FIGURES_BOUNDS = PlaceBounds(most=32, strangers=32, each=16)
_KEEP_ALIVE_S = 65
"""Seconds that an idle connection stays open: more than the usual scrape interval of one minute."""


class Shown(OpenPlace):
    """The port for metrics, if an address is set for them; it serves nothing else."""

    def __init__(self, context: ApiContext, again_s: float = AGAIN_S) -> None:
        def config() -> uvicorn.Config:
            served = figures_app(context)
            return uvicorn.Config(
                served, timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=1, **QUIET
            )

        texts = ("metrics", "metrics are not available", "metrics.listen")
        super().__init__(context, context.coordinator.figures_at, texts, config, FIGURES_BOUNDS, again_s)


def open_places(context: ApiContext) -> tuple[OpenPlace, ...]:
    """Return the ports to start and stop; the API's code is only imported if it has a listener."""
    listener = context.coordinator.listener
    if listener is None:
        return (Shown(context),)
    return Shown(context), TcpListener(context, listener)
