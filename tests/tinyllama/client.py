"""Runs the tiny server as a child for as long as a test needs it."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Tiny:
    """One that answers."""

    url: str
    port: int
    pid: int
    child: subprocess.Popen[bytes]

    def wedge(self) -> None:
        self._signal(signal.SIGUSR1)

    def unwedge(self) -> None:
        self._signal(signal.SIGUSR2)

    def _signal(self, number: int) -> None:
        self.child.send_signal(number)
        assert self.child.stdout is not None
        self.child.stdout.readline()  # it says when it is done


def argv_of(**options: Any) -> list[str]:
    """The command that starts one with these flags: slots=2, api_key="k", metrics=False ..."""
    argv = [sys.executable, "-m", "tests.tinyllama"]
    for key, value in options.items():
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            argv.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            argv += [f"--{flag}", str(value)]
    return argv


@contextlib.contextmanager
def tiny_server(**options: Any) -> Iterator[Tiny]:
    """A child of its own, ended whatever happens."""
    argv = [*argv_of(**options), "--die-with-stdin"]
    child = subprocess.Popen(argv, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    watchdog = threading.Timer(START_S, child.kill)
    watchdog.start()
    told: dict[str, Any] = {}
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        watchdog.cancel()
        if not line:
            raise RuntimeError(f"the tiny server did not start (exit status {child.wait()})")
        told = json.loads(line)
        yield Tiny(told["url"], told["port"], told["pid"], child)
    finally:
        watchdog.cancel()
        child.kill()  # it may be stopped or wedged; its scratch is ours to remove
        child.communicate()
        if told:
            shutil.rmtree(told["scratch"], ignore_errors=True)


def call(url: str, key: str | None = None, body: Any = None, timeout: float = 10.0) -> tuple[int, bytes]:
    """(status, body) of a GET, or of a POST of that body."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, headers=headers, data=data)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
