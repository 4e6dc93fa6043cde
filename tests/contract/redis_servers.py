"""Real servers for the tests: PanCode's own Valkey, and Debian's redis-server reached by its URL."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from node_agent.wire.clock import SystemClock, SystemIds
from pancode.queue.valkey.access import RedisAccess
from pancode.queue.valkey.embedded_server import EmbeddedValkey
from pancode.queue.valkey.external import check_external
from pancode.queue.valkey.process import wait_until
from tests.contract.certificates import Authority, Pair
from tests.crowd import crowded
from tests.ports import find_free_port


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
        self.port = find_free_port()
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--appendonly", "yes", "--requirepass", "s3 cret/?@:"),
        ]
        self._log = folder / "redis.log"
        self.more: tuple[str, ...] = ()
        self._child: subprocess.Popen[bytes] | None = None
        self.url = f"redis://:s3%20cret%2F%3F%40%3A@127.0.0.1:{self.port}/0"
        self.place: str | tuple[str, int] = ("127.0.0.1", self.port)
        self.start()

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._child = subprocess.Popen([*self._command, *self.more], stdout=log, stderr=log)
        assert wait_until(SystemClock(), int(10_000 * crowded()), self._answers), self._log.read_text()
        self.access = check_external(self.url).access

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait(10 * crowded())

    def discard(self) -> None:
        self.stop()


class TlsRedis:
    """Debian's redis-server on the loopback, by TLS alone, with an ACL user `pancode`."""

    def __init__(self, authority: Authority, server: Pair, clients: bool = False) -> None:
        """`clients`: it wants to see a certificate of each."""
        self.folder = Path(tempfile.mkdtemp(prefix="rt-"))
        self.port = find_free_port()
        self._fixed = [
            *("--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--tls-ca-cert-file", str(authority.ca), "--tls-auth-clients", "yes" if clients else "no"),
            *("--unixsocket", f"{self.folder}/admin.sock"),
            *("--user", *"default off".split(), "--user", *"admin on nopass ~* &* +@all".split()),
            *("--user", *"pancode on >first ~* &* +@all".split()),
        ]
        self._child: subprocess.Popen[bytes] | None = None
        self.start(server)

    def start(self, server: Pair) -> None:
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is not installed: make system"
        shown = ["--tls-cert-file", str(server.cert), "--tls-key-file", str(server.key)]
        with open(self.folder / "log", "ab") as log:
            self._child = subprocess.Popen([program, *self._fixed, *shown], stdout=log, stderr=log)
        if not wait_until(SystemClock(), int(20_000 * crowded()), lambda: self._ask("PING") == "PONG"):
            self.stop()
            raise AssertionError(self._log())

    def _log(self) -> str:
        return (self.folder / "log").read_text()

    def _ask(self, *words: str) -> str:
        login = ["--user", "admin", "--pass", "x", "--no-auth-warning"]
        argv = ["redis-cli", "-s", f"{self.folder}/admin.sock", *login, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20 * crowded())
        return done.stdout.strip()

    def do(self, *words: str) -> str:
        """As its administrator, by a socket that nobody else is told of."""
        answer = self._ask(*words)
        assert not answer.startswith(("ERR", "NOPERM", "(error)")), answer
        return answer

    def url(self, host: str = "127.0.0.1", login: str = "pancode:first@") -> str:
        return f"rediss://{login}{host}:{self.port}"

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait(20 * crowded())
            self._child = None

    def discard(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def open_server(name: str, folder: Path) -> Server:
    """`valkey` or `redis`."""
    return OwnValkey() if name == "valkey" else DebianRedis(folder)
