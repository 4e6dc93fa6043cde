"""Ctrl-C on a landing, through the command line and a real fleet of this machine."""

from __future__ import annotations

import signal

import pytest

from tests.crowd import crowded
from tests.integration.faces.conftest import Shell, until
from tests.integration.faces.test_landing_asked_for import GATE, _judged
from tests.integration.faces.test_this_machine import LONG_S, _git, _repository, fleet

__all__ = ["fleet"]


@pytest.mark.slow
def test_ctrl_c_calls_a_landing_off_and_says_so(fleet: Shell) -> None:
    """The gate passes on what was dispatched; with a later edit of the user's it waits."""
    _repository(fleet.cwd)
    (fleet.cwd / "gate.sh").write_text(GATE)
    done = fleet(
        *("dispatch", "--runtime", "shell", "--verify", "sh gate.sh", "--json", "echo two >> a.txt"),
        timeout_s=LONG_S,
    )
    assert done.status == 0, done.err
    run = done.data["run"]
    (fleet.cwd / "mine.txt").write_text("mine\n")
    landing = fleet.begin("runs", "land", run)
    until(lambda: _judged() != [], "the gate runs")
    landing.send_signal(signal.SIGINT)
    out, err = landing.communicate(timeout=30 * crowded())
    assert landing.returncode == 130 and out == b""
    assert "called off: your files did not change" in err.decode()
    assert (fleet.cwd / "a.txt").read_text() == "one\n"
    until(lambda: not _judged(), "the run that judged has ended")
    (fleet.cwd / "mine.txt").unlink()
    said = fleet("runs", "land", run)
    assert said.status == 0, said.err
    (line,) = [line for line in said.out.splitlines() if "landed" in line]
    branch = _git(fleet.cwd, "symbolic-ref", "--short", "HEAD").strip()
    assert line.endswith(f"landed: 1 file in {fleet.cwd.resolve()} (branch {branch}), not committed")
    again = fleet("runs", "land", run).out
    assert f"nothing to land: {fleet.cwd.resolve()} is as it was" in again
