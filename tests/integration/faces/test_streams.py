"""The command line where nobody reads it: closed streams, a full disk, a reader that has gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S, Served, Shell

pytestmark = pytest.mark.slow

DISPATCH = ("dispatch", "--runtime", "shell", "--workspace", "none", "error")
ERROR = 10


def ended(shell: Shell, streams: str, *args: str) -> tuple[int, str]:
    """The status behind a shell's redirections, and what was said on standard error."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-m", "pancode", *args],
        env=shell.environ(),
        cwd=shell.cwd,
        capture_output=True,
        timeout=PATIENCE_S * crowded(),
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("streams", [">&- 2>&- <&-", "2>/dev/full", ">&-"])
def test_a_run_is_waited_for_whoever_hears_of_it(served: Served, pancode: Shell, streams: str) -> None:
    assert ended(pancode, streams, *DISPATCH)[0] == ERROR


def test_a_full_disk_is_told_and_no_traceback(served: Served, pancode: Shell) -> None:
    for args in (("runs",), ("--version",), ("status", "--metrics")):
        status, told = ended(pancode, ">/dev/full", *args)
        assert status == 3 and "no space left" in told and "Traceback" not in told


def test_a_sign_that_the_terminal_has_not_is_shown_by_its_number(served: Served, pancode: Shell) -> None:
    pancode("dispatch", "--runtime", "shell", "--workspace", "none", "--detach", "hang \U0001f642")
    done = subprocess.run(
        [sys.executable, "-m", "pancode", "runs"],
        env={**pancode.environ(), "PYTHONIOENCODING": "latin-1"},
        cwd=pancode.cwd,
        capture_output=True,
        timeout=PATIENCE_S * crowded(),
    )
    assert done.returncode == 0 and rb"\U0001f642" in done.stdout, done.stderr


def test_who_reads_no_further_hides_no_outcome(served: Served, pancode: Shell, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    for args, status in ((DISPATCH, ERROR), (("runs",), 0)):
        process = subprocess.run(
            [sys.executable, "-m", "pancode", *args],
            env=pancode.environ(),
            cwd=tmp_path,
            stdout=writes,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S * crowded(),
        )
        assert process.returncode == status and b"Traceback" not in process.stderr
    os.close(writes)
