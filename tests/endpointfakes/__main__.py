"""A homelab's four servers on this loopback, until its input ends: `python -m tests.endpointfakes LOG CERT`.

LOG gets a line of JSON for each request: port, method, path, model, and the harm done so far. vLLM's is asked
over TLS and shows the certificate in CERT.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from tests.fakemodel import FakeModel

from .server import App, Asked, Reply, serving
from .working import MODELS, VLLM_PORT, homelab, working_script


class Noted:
    """An app of which every request is written down."""

    def __init__(self, app: App, port: int, log: Path) -> None:
        self._app, self._port, self._log, self.harm = app, port, log, app.harm
        self.server = getattr(app, "server", "fake")

    def answer(self, asked: Asked) -> Reply:
        reply = self._app.answer(asked)
        model = asked.body.get("model") if isinstance(asked.body, dict) else asked.query.get("model")
        told = {"port": self._port, "method": asked.method, "path": asked.path, "model": model}
        with LOCK, self._log.open("a") as log:
            log.write(json.dumps({**told, "status": reply.status, "harm": self._app.harm}) + "\n")
        return reply


LOCK = threading.Lock()


def main(argv: list[str]) -> int:
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(argv[1])
    with ExitStack() as open_:
        model = open_.enter_context(FakeModel(working_script(MODELS), "openai"))
        for port, app in homelab(model.url).items():
            noted = Noted(app, port, Path(argv[0]))
            open_.enter_context(serving(noted, False, shown if port == VLLM_PORT else None, port))
        print("ready", flush=True)
        sys.stdin.buffer.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
