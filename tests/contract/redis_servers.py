"""Real servers for the tests: PanCode's own Valkey, and Debian's redis-server reached by its URL."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from node_agent.wire.clock import SystemClock, SystemIds
from pancode.adapters.valkey.access import RedisAccess
from pancode.adapters.valkey.embedded import EmbeddedValkey
from pancode.adapters.valkey.external import check_external
from pancode.adapters.valkey.process import wait_until


class Server(Protocol):
    """One server that can be stopped and started again on the same data."""

    access: RedisAccess
    place: str | tuple[str, int]

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def discard(self) -> None:
        """Stopped, and nothing of it left."""


class OwnValkey:
    """The embedded server, in a folder with a short path, since it has a socket in it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pcv-"))
        self.valkey = EmbeddedValkey(self.folder / "valkey", SystemClock(), SystemIds())
        self.start()

    def start(self) -> None:
        self.access = self.valkey.start_or_adopt("test").access
        assert self.access.socket is not None
        self.place: str | tuple[str, int] = self.access.socket

    def stop(self) -> None:
        self.valkey.stop()

    def discard(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)


class DebianRedis:
    """Another program, on a free port of the loopback, with a password of its own."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is not installed: make system"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--appendonly", "yes", "--requirepass", "s3 cret/?@:"),
        ]
        self._log = folder / "redis.log"
        self._child: subprocess.Popen[bytes] | None = None
        self.url = f"redis://:s3%20cret%2F%3F%40%3A@127.0.0.1:{self.port}/0"
        self.place: str | tuple[str, int] = ("127.0.0.1", self.port)
        self.start()

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._child = subprocess.Popen(self._command, stdout=log, stderr=log)
        assert wait_until(SystemClock(), 10_000, self._answers), self._log.read_text()
        self.access = check_external(self.url).access

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait(10)

    def discard(self) -> None:
        self.stop()


def open_server(name: str, folder: Path) -> Server:
    """`valkey` or `redis`."""
    return OwnValkey() if name == "valkey" else DebianRedis(folder)
