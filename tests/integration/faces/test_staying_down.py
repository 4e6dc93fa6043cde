"""A coordinator that was told to end is started again by nobody; one that a signal ends may be."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock
from pancode.app.server.serve import Serving
from pancode.interfaces.client.client import Client, FleetDownError, down_stamp, mark_down
from pancode.kernel.host.single_instance import holder_of
from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S
from tests.integration.faces.world import LiveDesk
from tests.unit.pancode.interfaces.http.world import MemoryCoordinator


def _asked(serving: Serving, home: Path) -> None:
    client = Client(home, starts=False)
    assert client.get("/v1/fleet")["coordinator"]["after_reboot"] == "restarted by the test"
    client.post("/v1/shutdown")


def _home_gone(serving: Serving, home: Path) -> None:
    shutil.rmtree(home)


def _signal(serving: Serving, home: Path) -> None:
    serving.stop()


@pytest.mark.parametrize(
    ("end", "stays_down"), [(_asked, True), (_home_gone, True), (_signal, False)], ids=lambda v: str(v)[:16]
)
def test_who_is_told_to_end_stays_down(
    tmp_path: Path, end: Callable[[Serving, Path], None], stays_down: bool
) -> None:
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    coordinator = MemoryCoordinator(LiveDesk(), home)
    serving = Serving(home, lambda: coordinator, SystemClock())
    ready = threading.Event()
    thread = threading.Thread(target=serving.run, args=(ready.set,), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_S * crowded())
    end(serving, home)
    thread.join(PATIENCE_S * crowded())
    assert not thread.is_alive()
    told = [said for said in coordinator.story if not said.startswith("repair")]
    assert told == ["start", "stop valkey=True", *(["stays down"] if stays_down else [])]


@pytest.mark.parametrize("when", ["before", "as it starts"])
def test_a_fleet_that_was_taken_down_meanwhile_is_not_brought_up_by_a_late_start(
    tmp_path: Path, when: str
) -> None:
    home = tmp_path / "h"
    home.mkdir(mode=0o700)

    class Slow(MemoryCoordinator):
        def start(self) -> None:
            super().start()
            mark_down(home, "ana")

    coordinator = Slow(LiveDesk(), home)
    if when == "before":
        (home / "run").mkdir()
        mark_down(home, "ana")
    with pytest.raises(FleetDownError) as caught:
        Serving(home, lambda: coordinator, SystemClock()).run()
    assert "ana" in caught.value.why and caught.value.fix == "pancode fleet up"
    assert holder_of(home) is None and down_stamp(home) != 0
    told = [said for said in coordinator.story if not said.startswith("repair")]
    assert told == ([] if when == "before" else ["start", "stop valkey=True"])
