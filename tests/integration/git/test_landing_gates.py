"""Gates of a landing run what an agent wrote: on a diet of environment, memory and time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pancode.adapters.git.landing_gates import TAIL, gate_env, run_gates
from tests.crowd import crowded
from tests.integration.git.depot_world import until

OUTER = {
    "PATH": os.environ["PATH"],
    "HOME": "/h",
    "ANTHROPIC_API_KEY": "k",
    "SSH_AUTH_SOCK": "/s",
    "GIT_DIR": "/g",
    "CI_FLAVOUR": "x",
}


def test_no_key_reaches_what_an_agent_wrote(tmp_path: Path) -> None:
    env = gate_env(OUTER, ("CI_FLAVOUR", "NOT_THERE"))
    done = run_gates(tmp_path, [["sh", "-c", "env; exit 3"]], env, 10)
    assert not done.ok and "exit 3" in done.detail
    assert "CI_FLAVOUR=x" in done.detail and "HOME=/h" in done.detail
    assert not any(word in done.detail for word in ("ANTHROPIC", "SSH_AUTH", "GIT_DIR"))


def test_the_first_that_fails_decides(tmp_path: Path) -> None:
    env = gate_env(OUTER)
    assert run_gates(tmp_path, [["true"], ["touch", "a"]], env, 10).ok
    assert (tmp_path / "a").exists()
    assert not run_gates(tmp_path, [["false"], ["touch", "b"]], env, 10).ok
    assert not (tmp_path / "b").exists()
    assert "no-such-program" in run_gates(tmp_path, [["no-such-program"]], env, 10).detail
    assert not run_gates(tmp_path, [["a\0b"]], env, 10).ok


def test_a_gate_that_never_stops_talking(tmp_path: Path) -> None:
    done = run_gates(tmp_path, [["sh", "-c", "yes | head -c 20000000; exit 1"]], gate_env(OUTER), 60)
    assert not done.ok and len(done.detail) < TAIL + 200


def test_nothing_of_a_gate_is_left_running(tmp_path: Path) -> None:
    began = time.monotonic()
    slow = run_gates(tmp_path, [["sh", "-c", "sleep 300"]], gate_env(OUTER), 0.5)
    assert not slow.ok and "timed out" in slow.detail
    loose = ["sh", "-c", "sleep 300 & echo $! > pid; exit 0"]
    assert run_gates(tmp_path, [loose], gate_env(OUTER), 10).ok
    assert time.monotonic() - began < 30 * crowded()
    pid = (tmp_path / "pid").read_text().strip()
    until(lambda: not _runs(pid))


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
