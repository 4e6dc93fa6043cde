"""A served home and the real command line as a subprocess."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.crowd import crowded
from tests.crowd import until as until

ROOT = Path(__file__).parents[3]
PATIENCE_S = 20.0


@dataclass
class Said:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err.splitlines()[-1])["error"]


@dataclass
class Shell:
    """The command line with one home."""

    home: Path
    cwd: Path
    begun: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environ(self) -> dict[str, str]:
        return {**os.environ, "PANCODE_HOME": str(self.home), "PYTHONPATH": str(ROOT), "USER": "ana"}

    def __call__(self, *args: str, timeout_s: float = PATIENCE_S) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "pancode", *args],
            env=self.environ(),
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s * crowded(),
            check=False,
        )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def begin(self, *args: str, deaf: bool = False) -> subprocess.Popen[bytes]:
        """Beside the test, ended with it. `deaf`: as a script starts what it puts into the background."""
        shell = ("sh", "-c", 'trap "" INT; exec "$@"', "sh") if deaf else ()
        process = subprocess.Popen(
            [*shell, sys.executable, "-m", "pancode", *args],
            env=self.environ(),
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.begun.append(process)
        return process

    def end_all(self) -> None:
        for process in self.begun:
            if process.poll() is None:
                process.kill()
            process.communicate()


def take_away(place: Path) -> None:
    """As somebody who removes it till it is gone: what lives there makes and removes files meanwhile."""

    def gone() -> bool:
        shutil.rmtree(place, ignore_errors=True)
        return not place.exists()

    until(gone, f"{place} is gone")


@dataclass
class Served:
    """A coordinator on memory, in its own process, so that it can be killed and frozen."""

    home: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.faces.world", str(self.home)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        until(lambda: (self.home / "api.sock").exists() or self.gone(), "the coordinator serves")
        assert not self.gone(), self.words()

    def gone(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def words(self) -> str:
        assert self.process is not None and self.process.stderr is not None
        return self.process.stderr.read().decode()

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE_S * crowded())
        return self.process.returncode


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path: sockets live in it."""
    folder = Path(tempfile.mkdtemp(prefix="pcf-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def served(home: Path) -> Iterator[Served]:
    coordinator = Served(home)
    coordinator.start()
    yield coordinator
    coordinator.end()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A command line on a coordinator that the tests of one module share and leave as it is."""
    home = Path(tempfile.mkdtemp(prefix="pcf-"))
    coordinator = Served(home)
    coordinator.start()
    yield Shell(home, tmp_path_factory.mktemp("standing"))
    coordinator.end()
    shutil.rmtree(home)


@pytest.fixture
def pancode(home: Path, tmp_path: Path) -> Iterator[Shell]:
    """The command line in an empty folder."""
    shell = Shell(home, tmp_path)
    yield shell
    shell.end_all()
