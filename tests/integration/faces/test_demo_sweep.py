"""A demo that is taken away: also what no look could see at first is ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from node_agent.wire.clock import SystemClock
from pancode.app.demo_stage import Stage
from tests.crowd import crowded


class Blind(Stage):
    """As the real one, but its first look finds nothing, as while a process becomes another program."""

    looked = False

    def processes(self, place: Path | None = None) -> dict[int, str]:
        found = super().processes(place) if self.looked else {}
        self.looked = True
        return found


def test_a_look_that_finds_nothing_is_not_believed(tmp_path: Path) -> None:
    stage = Blind(tmp_path / "d", {}, SystemClock())
    stage.root.mkdir()
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(words, env={"HOME": f"{stage.root}/home"}) as left:
        try:
            assert stage.sweep() == [" ".join(words)]
            assert left.wait(10 * crowded()) == -9
        finally:
            left.kill()
    assert not stage.root.exists()
