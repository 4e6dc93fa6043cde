"""Shows that the session's rules hold: a skip fails in CI, the environment is clean, HOME is thrown away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT

SUITE = """
import os
from pathlib import Path

import pytest


def test_runs():
    assert not [n for n in os.environ if n.startswith("PANCODE_")]
    assert Path.home().name.startswith("pct-")
    Path("home").write_text(str(Path.home()))


@pytest.mark.skip(reason="{reason}")
def test_does_not_run():
    raise AssertionError
"""


def _run(folder: Path, reason: str, ci: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_suite.py").write_text(SUITE.format(reason=reason))
    environment = {**os.environ, "CI": ci, "PANCODE_HOME": "/nowhere"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        str(folder),
    ]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_skip_fails_in_ci(tmp_path: Path) -> None:
    done = _run(tmp_path, "no time today", "true")
    assert "1 passed, 1 error" in done.stdout and done.returncode == 1
    assert "not an allowed reason" in done.stdout


def test_an_allowed_reason_passes_in_ci(tmp_path: Path) -> None:
    assert "1 passed, 1 skipped" in _run(tmp_path, "not root: needs namespaces", "true").stdout


def test_a_skip_is_a_skip_elsewhere_and_the_home_is_removed(tmp_path: Path) -> None:
    assert "1 passed, 1 skipped" in _run(tmp_path, "no time today", "").stdout
    assert not Path((tmp_path / "home").read_text()).exists()
