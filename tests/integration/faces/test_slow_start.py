"""A coordinator whose start takes longer than a command waits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pancode.interfaces.client.client import read_down
from pancode.kernel.host.single_instance import holder_of
from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S, Shell, until
from tests.integration.faces.test_coordinator_process import _processes

pytestmark = pytest.mark.slow

SLOW = """
import os, sys, time
if sys.argv[1:2] == ["serve"] or "serve" in getattr(sys, "orig_argv", []):
    open(os.environ["PANCODE_HOME"] + "/begun", "w").close()
    time.sleep({seconds})
"""
IMPATIENT = """
from pancode.interfaces.client import client
client.START_S = 1.0
from pancode.__main__ import main
main()
"""


def impatient(pancode: Shell, folder: Path, seconds: float, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, which waits a second for a coordinator that sleeps before it starts."""
    (folder / "sitecustomize.py").write_text(SLOW.format(seconds=seconds))
    environ = pancode.environ()
    return subprocess.run(
        [sys.executable, "-c", IMPATIENT, *words],
        env={**environ, "PYTHONPATH": f"{folder}:{environ['PYTHONPATH']}"},
        cwd=pancode.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S * crowded(),
        check=False,
    )


def test_a_headless_run_ends_what_still_starts(
    pancode: Shell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("slow")
    words = ("run", "--headless", "--runtime", "shell", "--workspace", "none", "--", "true")
    done = impatient(pancode, folder, 600, *words)
    assert done.returncode == 6 and "may still be starting" in done.stderr, done.stderr
    assert (pancode.home / "begun").exists(), "it had begun to start"
    assert not _processes(str(pancode.home)) and holder_of(pancode.home) is None
    assert not _starting(pancode.home)


def test_another_command_says_what_to_run_and_that_finds_it(
    pancode: Shell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = impatient(pancode, tmp_path_factory.mktemp("slow"), 2, "runs")
    assert done.returncode == 6 and "pancode node ls" in done.stderr
    told = pancode("fleet", "status", "--json", timeout_s=3 * PATIENCE_S)
    assert told.status == 0, told.err
    down = pancode("fleet", "down", "--now", timeout_s=3 * PATIENCE_S)
    assert down.status == 0, down.err
    until(
        lambda: not [pid for pid in _processes("serve") if _home_of(pid) == str(pancode.home)],
        "all have ended",
    )
    assert holder_of(pancode.home) is None, "one that starts late does not come up after that"
    assert read_down(pancode.home) is not None


def _starting(home: Path) -> list[int]:
    return [pid for pid in _processes("serve") if _home_of(pid) == str(home)]


def _home_of(pid: int) -> str:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((one[13:].decode() for one in environ if one.startswith(b"PANCODE_HOME=")), "")
