"""Our side: a fleet of its own, driven through the same API and command line as a user's."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

from tests.e2e.owner import Owner

NO_OP = ["/bin/true"]
NOW = ["/usr/bin/date", "+%s.%N"]


class Api:
    """One kept connection to the coordinator's socket."""

    def __init__(self, home: Path) -> None:
        self._path = str(home / "api.sock")
        self._connection = http.client.HTTPConnection("pancode", timeout=120)
        self._used = 0.0

    def call(self, method: str, path: str, body: object = None) -> bytes:
        """The answer's bytes; RuntimeError for a refusal."""
        if time.monotonic() - self._used > 3:  # an idle connection is closed by the server after 5 s
            self._connection.close()
        self._used = time.monotonic()
        if self._connection.sock is None:
            self._connection.sock = socket.socket(socket.AF_UNIX)
            self._connection.sock.connect(self._path)
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = self._connection.getresponse()
        read = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {read[:500]!r}")
        if answer.will_close:
            self._connection.close()
        return read

    def dispatch(self, argv: list[str], **more: object) -> str:
        """The run's id."""
        body = {"argv": argv, "runtime": "shell", "workspace": "none", **more}
        return str(json.loads(self.call("POST", "/v1/runs", body))["run"])


class OurFleet:
    """A context: coordinator and this machine as its node, at the shipped pace."""

    def __init__(self, slots: int = 4, environ: Mapping[str, str] | None = None) -> None:
        """`environ`: what coordinator and node agent find there besides."""
        self.root = Path(tempfile.mkdtemp(prefix="pb-"))
        config = self.root / "p" / "pancode.yaml"
        config.parent.mkdir(mode=0o700)
        config.write_text(f"nodes:\n  slots: {slots}\n")
        self.programs = self.root / "bin"
        """First on the PATH of coordinator and node agent."""
        self.programs.mkdir(mode=0o755)
        path = f"{self.programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.owner = Owner(self.root, 1.0, {"PATH": path, **(environ or {})})

    def __enter__(self) -> Self:
        try:
            self.owner.run("fleet", "up", timeout_s=180).ok()
        except BaseException:
            self.__exit__()
            raise
        return self

    @cached_property
    def _ledger(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.owner.fleet_home}/ledger.db?mode=ro", uri=True)

    def __exit__(self, *exc: object) -> None:
        agents = self.node_pids()
        self.owner.down()
        for pid in agents:  # normally gone with the fleet
            try:
                os.kill(pid, 15)
            except ProcessLookupError:
                continue
        time.sleep(0.3)
        shutil.rmtree(self.root, ignore_errors=True)

    def api(self) -> Api:
        return Api(self.owner.fleet_home)

    @property
    def coordinator_pid(self) -> int:
        return int(json.loads((self.owner.fleet_home / "run/coordinator.pid").read_text())["pid"])

    def node_pids(self) -> list[int]:
        homes = (self.owner.home / ".pancode-node").glob("*/run/agent.pid")
        return [int(path.read_text().split()[0]) for path in homes if path.exists()]

    def settled(self) -> int:
        """Runs with an outcome, by the ledger on disk."""
        return int(self._ledger.execute("select count(*) from runs where state = 'ended'").fetchone()[0])

    def burst(self, count: int, argv: list[str], callers: int = 2) -> float:
        """Dispatch so many at once, wait until all are settled; seconds."""
        target, began = self.settled() + count, time.monotonic()
        threads = [
            threading.Thread(target=_post, args=(self.api(), share, argv))
            for share in _shares(count, callers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while self.settled() < target:
            if time.monotonic() - began > 300:
                raise TimeoutError(f"{target - self.settled()} of {count} runs are not settled")
            time.sleep(0.02)
        return time.monotonic() - began

    def one(self, api: Api, argv: list[str]) -> tuple[float, str]:
        """(wall time just before the dispatch, what the program said)."""
        began = time.time()
        run = api.dispatch(argv)
        return began, self.output(api, run)

    def output(self, api: Api, run: str) -> str:
        """Of the run when it has ended."""
        while not json.loads(api.call("GET", f"/v1/runs/{run}/brief"))["outcome"]:
            time.sleep(0.02)
        return api.call("GET", f"/v1/runs/{run}/log").decode()


def _post(api: Api, count: int, argv: list[str]) -> None:
    for _ in range(count):
        api.dispatch(argv)


def _shares(count: int, parts: int) -> list[int]:
    return [count // parts + (i < count % parts) for i in range(parts)]
