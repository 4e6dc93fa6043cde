"""What a script has put into the background continues at Ctrl-C, as any command does."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pancode.kernel.host.single_instance import holder_of
from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S, Served, Shell, until

pytestmark = pytest.mark.slow


def test_a_dispatch_goes_on_waiting(served: Served, pancode: Shell, tmp_path: Path) -> None:
    shell = ("--runtime", "shell", "--workspace", "none")
    waiting = pancode.begin("dispatch", *shell, f"held {tmp_path}/go", deaf=True)
    until(lambda: _states(pancode) == ["running"], "the run runs")
    waiting.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    _, err = waiting.communicate(timeout=PATIENCE_S * crowded())
    assert waiting.returncode == 0 and b"detached" not in err, err


def _states(pancode: Shell) -> list[str]:
    return [str(run["state"]) for run in pancode("runs", "--json").data["runs"]]


def test_a_coordinator_serves_on_until_it_is_told_to_end(pancode: Shell) -> None:
    serving = pancode.begin("serve", deaf=True)
    until(lambda: (pancode.home / "api.sock").exists(), "it serves")
    for number in (signal.SIGINT, signal.SIGINT):
        serving.send_signal(number)
    assert pancode("fleet", "status", "--json").data["coordinator"]["pid"] == serving.pid
    serving.send_signal(signal.SIGTERM)
    serving.communicate(timeout=PATIENCE_S * crowded())
    assert serving.returncode == 0 and holder_of(pancode.home) is None


def test_what_it_starts_for_all_does_not_inherit_that(pancode: Shell) -> None:
    starting = pancode.begin("serve", "--background", deaf=True)
    starting.communicate(timeout=2 * PATIENCE_S * crowded())
    holder = holder_of(pancode.home)
    assert starting.returncode == 0 and holder is not None
    try:
        status = Path(f"/proc/{holder.pid}/status").read_text()
        (ignored,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
        assert not int(ignored, 16) & (1 << (signal.SIGINT - 1))
    finally:
        os.kill(holder.pid, signal.SIGTERM)
        until(lambda: not holder.alive(), "it ends")
