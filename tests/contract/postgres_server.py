"""A real PostgreSQL of Debian's package for the tests: its own folder, socket, port and end."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from node_agent.wire.clock import SystemClock
from pancode.queue.valkey.process import wait_until
from pancode.store.postgres import Database, database_of
from tests.contract.certificates import Pair
from tests.crowd import crowded
from tests.ports import find_free_port

PASSWORD = "s3cret/pass"
_HASTY = "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off"
_STARTED_S = 30


class Postgres:
    """One server that can be stopped and started again. Who comes by the socket needs no password."""

    def __init__(self, durable: bool = False) -> None:
        """`durable`: as shipped; else nothing is waited for that only a power cut would take."""
        self._settings = () if durable else _HASTY
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._child: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()
        self.port = find_free_port()
        (self.folder / "pw").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.folder, self.folder / "pw"):
                shutil.chown(path, "nobody", "nogroup")
        self._make()
        self.start()

    def _make(self) -> None:
        words = ["--auth-local=trust", "--auth-host=scram-sha-256", "--username=pancode", "--no-sync"]
        more = ["--encoding=UTF8", "--locale=C", f"--pwfile={self.folder}/pw", "-D", f"{self.folder}/d"]
        done = subprocess.run(
            self._argv("initdb", *words, *more), cwd=self.folder, capture_output=True, timeout=60 * crowded()
        )
        assert done.returncode == 0, done.stderr

    def _argv(self, program: str, *words: str) -> list[str]:
        """The server refuses to be root's, and is not to outlive a test that was killed."""
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
        assert found, f"{program} is not installed: make system"
        as_nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        return ["setpriv", "--pdeathsig=INT", *as_nobody, str(found[-1]), *words]

    def start(self) -> None:
        """Returns when it answers."""
        settings = [*self._settings, f"unix_socket_directories={self.folder}", "listen_addresses=127.0.0.1"]
        words = [word for setting in settings for word in ("-c", setting)]
        with open(self.folder / "log", "ab") as log:
            self._child = subprocess.Popen(
                self._argv("postgres", "-D", f"{self.folder}/d", "-p", str(self.port), *words),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        child, limit_ms = self._child, int(_STARTED_S * 1_000 * crowded())
        assert wait_until(SystemClock(), limit_ms, lambda: child.poll() is not None or self._answers())
        assert child.poll() is None, (self.folder / "log").read_text()

    def _answers(self) -> bool:
        return self._psql("select 1").returncode == 0

    def stop(self, how: int = signal.SIGINT) -> None:
        """Every session is ended (SIGINT), or the machine seems to lose power (SIGQUIT). Idempotent."""
        if self._child is not None:
            self._child.send_signal(how)
            self._child.wait(30 * crowded())
            self._child = None

    def discard(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def show(self, server: Pair, authority: Path) -> None:
        """Speak TLS with this certificate from the next connection on, and know whom that authority knows."""
        for source, name in ((server.cert, "s.pem"), (server.key, "s.key"), (authority, "ca.pem")):
            shutil.copy(source, self.folder / name)
            (self.folder / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(self.folder / name, "nobody", "nogroup")
        names = {"ssl_cert_file": "s.pem", "ssl_key_file": "s.key", "ssl_ca_file": "ca.pem"}
        files = [f"alter system set {name} = '{self.folder}/{file}'" for name, file in names.items()]
        self.do(*files, "alter system set ssl = on", "select pg_reload_conf()")

    def do(self, *statements: str, database: str = "postgres") -> str:
        done = self._psql(*statements, database=database)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _psql(self, *statements: str, database: str = "postgres") -> subprocess.CompletedProcess[str]:
        place: Sequence[str] = ("-h", str(self.folder), "-p", str(self.port), "-U", "pancode", "-d", database)
        asked = [word for statement in statements for word in ("-c", statement)]
        return subprocess.run(
            ["psql", "-qAtX", *place, *asked], capture_output=True, text=True, timeout=30 * crowded()
        )

    def new(self) -> str:
        """The address of a fresh database, by the socket."""
        name = f"t{next(self._names)}"
        self.do(f"create database {name}")
        return self.by_socket(name)

    def by_socket(self, name: str, user: str = "pancode") -> str:
        return f"postgresql://{user}@/{name}?host={self.folder}&port={self.port}"

    def by_tcp(self, name: str, user: str = "pancode", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password.replace('/', '%2F')}@127.0.0.1:{self.port}/{name}"

    @property
    def environ(self) -> dict[str, str]:
        """For libpq's own programs, by the socket."""
        return {"PGHOST": str(self.folder), "PGPORT": str(self.port), "PGUSER": "pancode"}

    def database(self) -> Database:
        return database_of(self.new())


@contextmanager
def running(durable: bool = False) -> Iterator[Postgres]:
    server = Postgres(durable)
    try:
        yield server
    finally:
        server.discard()
