"""The server object, for tests."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from typing import Any

from tests.crowd import crowded

from .handler import Handler
from .script import PERSONAS, Script
from .state import Log, State

NOTED_S = 5.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up is not news


class FakeModel:
    """The server inside a test process.  Use as a context manager."""

    def __init__(
        self,
        script: dict | None = None,
        persona: str = "all",
        host: str = "127.0.0.1",
        port: int = 0,
        log: Log | None = None,
    ) -> None:
        if persona not in PERSONAS:
            raise ValueError(f"persona must be one of {sorted(PERSONAS)}")
        self.state = State(Script(script), persona, log)
        self.httpd = _Server((host, port), type("BoundHandler", (Handler,), {"state": self.state}))
        self.host, self.port = host, self.httpd.server_address[1]
        self.url = f"http://{host}:{self.port}"
        self._thread: threading.Thread | None = None

    def start(self) -> FakeModel:
        self._thread = threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()

    def __enter__(self) -> FakeModel:
        return self.start()

    def __exit__(self, *exc: Any) -> None:
        self.stop()

    @property
    def requests(self) -> list[dict]:
        """Finished requests, oldest first; with those whose answer has just been read."""
        with self.state.cond:
            self.state.cond.wait_for(lambda: self.state.telling == 0, NOTED_S * crowded())
            return list(self.state.requests)

    def set_script(self, script: dict) -> None:
        self.state.set_script(Script(script))

    def wait_until_asked(self, timeout: float = 10.0) -> bool:
        """Wait until a model request is under way; longer where the machine is busy."""
        with self.state.cond:
            return self.state.cond.wait_for(lambda: self.state.busy > 0, timeout * crowded())

    def wait_for(self, n: int, timeout: float = 10.0) -> bool:
        """Wait until n requests have finished; longer where the machine is busy."""
        with self.state.cond:
            return self.state.cond.wait_for(lambda: len(self.state.requests) >= n, timeout * crowded())
