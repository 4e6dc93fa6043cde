"""A node agent that hangs while it starts is ended all the same; who only looks is not taken for one."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from pancode.fleet.ssh.scripts.install import AGENT, STOP_AGENT
from pancode.fleet.ssh.scripts.link import PROBE
from tests.crowd import crowded

HANGS = """
import fcntl, pathlib, sys, time
home = pathlib.Path(sys.argv[1])
lock = open(home / "run/agent.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
(home / "run/.starting").write_text(f"{__import__('os').getpid()}\\n")
print("held", flush=True)
time.sleep(60)
"""


def test_what_hangs_at_its_start_is_ended(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    argv = [sys.executable, "-c", HANGS, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as hung:
        assert hung.stdout is not None and hung.stdout.readline() == "held\n"
        assert said(AGENT + 'halt "$1"', str(tmp_path)) == ""
        assert hung.wait(30 * crowded()) < 0, "by a signal"


def test_who_looks_at_the_same_moment_is_no_agent(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with open(tmp_path / "run/agent.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # as another look, of a probe or a bring-up
        assert "changed=no" in said(STOP_AGENT, str(tmp_path), "no.unit")
        assert "agent=stopped" in said(PROBE, "f-look", str(tmp_path))


def said(script: str, *words: str) -> str:
    argv = ["sh", "-c", script, "sh", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60 * crowded())
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
