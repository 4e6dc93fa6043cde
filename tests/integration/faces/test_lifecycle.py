"""Down is down, what a killed coordinator left is found, odd homes and an early Ctrl-C are no tracebacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pancode.kernel.host.single_instance import holder_of
from pancode.queue.valkey.process import read_record
from tests.integration.faces.conftest import Shell, until


@pytest.mark.slow
def test_status_after_down_says_so_and_starts_nothing(pancode: Shell) -> None:
    assert pancode("fleet", "status").status == 0
    assert pancode("fleet", "down", "--now").status == 0
    said = pancode("fleet", "status")
    assert said.status == 6 and "pancode fleet up" in said.err
    assert pancode("fleet", "status", "--json").error["code"] == "fleet_down"
    assert holder_of(pancode.home) is None
    assert pancode("runs").status == 6, "who only looks starts nothing"
    assert pancode("dispatch", "true", "--runtime", "shell", "--dry-run").status != 6, "who means work does"
    assert pancode("fleet", "status").status == 0
    assert pancode("fleet", "down", "--now").status == 0


@pytest.mark.slow
def test_a_killed_coordinator_is_started_again_by_status(pancode: Shell) -> None:
    assert pancode("fleet", "status").status == 0
    _kill(pancode)
    assert pancode("fleet", "status").status == 0
    assert pancode("fleet", "down", "--now").status == 0


@pytest.mark.slow
def test_down_ends_the_valkey_that_a_killed_coordinator_left(pancode: Shell) -> None:
    assert pancode("fleet", "status").status == 0
    left = read_record(pancode.home / "valkey/server.json")
    _kill(pancode)
    assert left is not None and left.alive()
    said = pancode("fleet", "down")
    assert said.status == 0
    valkey = f"its Valkey, pid {left.pid}, was still running and has been stopped"
    assert said.out == f"no coordinator is running here; {valkey}\n"
    assert not left.alive()
    assert pancode("fleet", "down").out == "no coordinator is running here\n"


@pytest.mark.slow
def test_a_start_that_fails_late_leaves_no_valkey(pancode: Shell) -> None:
    """The depot's folder is a file: that is found when Redis runs already."""
    pancode.home.mkdir(mode=0o700, exist_ok=True)
    (pancode.home / "depots").write_text("in the way")
    assert pancode("fleet", "up").status != 0
    record = read_record(pancode.home / "valkey/server.json")
    assert record is None or not record.alive()


@pytest.mark.parametrize(
    "command", [["fleet", "status"], ["doctor"], ["init"], ["config", "show"], ["serve"]]
)
@pytest.mark.parametrize(
    ("below", "words"), [("x" * 300, "too long: the path has a part of 300 bytes"), ("file/x", "")]
)
def test_a_home_that_cannot_be(command: list[str], below: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "pancode", *command],
        env={**os.environ, "PANCODE_HOME": str(tmp_path / below)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr and done.returncode in (3, 6), done.stderr
    assert words in done.stderr


WHILE_IT_READS = """import builtins, os, signal, sys
import pancode.__main__ as entry
real = builtins.__import__
def read(name, *more):
    if name == "pancode.interfaces.cli.main":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *more)
builtins.__import__ = read
entry.main()
"""
WHILE_IT_ENDS = """import atexit, os, signal, sys
import pancode.__main__ as entry
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
entry.main()
"""


@pytest.mark.parametrize("script", [WHILE_IT_READS, WHILE_IT_ENDS])
def test_ctrl_c_at_the_first_and_the_last_moment_is_silent(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script, "--version"], capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def _kill(pancode: Shell) -> None:
    holder = holder_of(pancode.home)
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    until(lambda: not holder.alive(), "it is gone")
