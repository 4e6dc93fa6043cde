"""Which attempts a process belongs to, by real processes: wiped, padded, orphaned below a shim, gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node_agent.shim import process
from node_agent.wire.identity import AttemptId
from pancode.kernel.host import process_attempts

MARK = AttemptId(run="r-abcdef", attempt=1, lease=2)
TOP = AttemptId(run="r-uvwxyz", attempt=3, lease=4)
SHOW = "import os; print(os.getpid(), flush=True); input()"


@contextmanager
def shown(argv: list[str], env: dict[str, str], stderr: Path | None = None) -> Iterator[tuple[int, str]]:
    """(pid, start) of the process that prints its own; ended afterwards."""
    with open(stderr or os.devnull, "w") as err:
        top = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)
    assert top.stdout is not None and top.stdin is not None
    try:
        pid = int(top.stdout.readline())
        yield pid, process_attempts.start_of(pid)
    finally:
        top.stdin.close()
        top.wait(10)
        top.stdout.close()


def test_the_marker_is_the_node_agents() -> None:
    assert f"{process.MARKER}=".encode() == process_attempts.MARKER


def test_who_is_in_no_attempt() -> None:
    with shown(
        [sys.executable, "-c", SHOW], {"X": f"PANCODE_ATTEMPT={MARK}", "PANCODE_ATTEMPT": "nonsense"}
    ) as who:
        assert process_attempts.attempts_of(*who) == ()


@pytest.mark.parametrize("padding", [0, 100_000])
def test_by_its_own_environment_however_long(padding: int) -> None:
    env = {"A": "x" * padding, "PANCODE_ATTEMPT": str(MARK)}
    with shown([sys.executable, "-c", SHOW], env) as who:
        assert process_attempts.attempts_of(*who) == (MARK,)


def test_by_those_above_it_when_its_own_is_wiped_or_forged() -> None:
    inner = ["env", "-i", f"PANCODE_ATTEMPT={TOP}", sys.executable, "-c", SHOW]
    script = '"$@"; exit 0'
    with shown(["sh", "-c", script, "sh", *inner], {"PANCODE_ATTEMPT": str(MARK), "PATH": os.defpath}) as who:
        assert process_attempts.attempts_of(*who) == (TOP, MARK), "the outermost stands last"


@pytest.mark.parametrize("name", ["records", "shim.log", "set-up/records", "gates/shim.log"])
def test_by_the_shim_above_it(tmp_path: Path, name: str) -> None:
    """What is left alone becomes the shim's child; the shim is known by what it has for standard error."""
    log = tmp_path / str(MARK) / name
    log.parent.mkdir(parents=True)
    orphaning = (
        "import subprocess, sys\nfrom node_agent.shim import process\nassert process.become_reaper()\n"
        "words = ['setsid', '-f', sys.executable, '-c', sys.argv[1]]\n"
        "subprocess.run(words, env={}, stderr=subprocess.DEVNULL); sys.stdin.read()"
    )
    env = {"PYTHONPATH": str(Path(process.__file__).parents[2]), "PATH": os.environ["PATH"]}
    with shown([sys.executable, "-c", orphaning, SHOW], env, log) as who:
        assert process_attempts.attempts_of(*who) == (MARK,)


def test_who_is_gone_or_is_another_by_now_is_nobody() -> None:
    with shown([sys.executable, "-c", SHOW], {}) as (pid, start):
        assert process_attempts.attempts_of(pid, str(int(start) + 1)) is None
    assert process_attempts.attempts_of(pid, start) is None and process_attempts.start_of(pid) == ""
