"""Ctrl-C on a landing, through the command line and a real fleet of this machine."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.crowd import crowded
from tests.integration.faces.conftest import Shell, until
from tests.integration.faces.test_this_machine import LONG_S, _git, _repository, fleet

__all__ = ["fleet"]


@pytest.mark.slow
def test_ctrl_c_calls_a_landing_off_and_says_so(fleet: Shell, tmp_path: Path) -> None:
    """The gate passes on the node at once, and here only when it is let."""
    _repository(fleet.cwd)
    here, go = tmp_path / "here", tmp_path / "go"
    (fleet.cwd / "gate.sh").write_text(
        f"[ -e {fleet.home}/again ] || exit 0\necho $$ > {here}\nwhile [ ! -e {go} ]; do sleep 0.1; done\n"
    )
    done = fleet(
        *("dispatch", "--runtime", "shell", "--verify", "sh gate.sh", "--json", "echo two >> a.txt"),
        timeout_s=LONG_S,
    )
    assert done.status == 0, done.err
    (fleet.home / "again").touch()
    landing = fleet.begin("runs", "land", "last")
    until(lambda: here.exists() and here.read_text().strip() != "", "the gate runs")
    landing.send_signal(signal.SIGINT)
    out, err = landing.communicate(timeout=30 * crowded())
    assert landing.returncode == 130 and out == b""
    assert "called off: your files are as they were" in err.decode()
    assert (fleet.cwd / "a.txt").read_text() == "one\n"
    gate = here.read_text().strip()
    until(lambda: not Path(f"/proc/{gate}").exists(), "the gate has ended")
    go.touch()
    said = fleet("runs", "land", "last")
    assert said.status == 0, said.err
    (line,) = [line for line in said.out.splitlines() if "landed" in line]
    branch = _git(fleet.cwd, "symbolic-ref", "--short", "HEAD").strip()
    assert line.endswith(f"landed: 1 file in {fleet.cwd.resolve()} (branch {branch}), not committed")
    assert fleet("runs", "land", "last").out.endswith(
        f"nothing to land: {fleet.cwd.resolve()} is as it was\n"
    )
