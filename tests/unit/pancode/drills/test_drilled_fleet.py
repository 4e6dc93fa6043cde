"""A drill on this machine: one at a time, with no restored keys of an earlier one."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import cast

import pytest

from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.signing import SigningKey
from pancode.backups.commands.drilled_copies import CopiesHere
from pancode.drills.commands.drill import find_nodes, format_report
from pancode.drills.commands.drilled_fleet import FleetHere, run_drill
from pancode.drills.model import DrillReport, DrillRow
from pancode.fleet.ssh.home import OWN_KEY
from pancode.interfaces.client.client import Client, place_of
from pancode.kernel.errors import NotFoundError, RefusedError

BEGUN = DrillReport(drill="d-1", fleet="f-1", by="ada", pancode="0.1.0", begun_ms=1_000)


def test_a_second_drill_is_refused_and_the_first_ones_restore_is_left(tmp_path: Path) -> None:
    (tmp_path / OWN_KEY).parent.mkdir()
    (tmp_path / OWN_KEY).write_text(SigningKey(b"k" * 32).text())
    scratch = tmp_path / "drills/scratch"
    scratch.mkdir(parents=True)
    environ = {"PANCODE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    client = Client(place_of(environ), starts=False)
    copies = CopiesHere(client, scratch, environ, None)
    fleet = FleetHere(client, tmp_path, SystemClock(), SystemIds(), "ada", "d-1", (copies,))
    with (tmp_path / "drills/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RefusedError, match="another drill of this fleet is running"):
            run_drill(fleet, ["desk"], BEGUN, lambda row: None)
        assert scratch.is_dir()
    done, file = run_drill(fleet, ["desk"], BEGUN, lambda row: None)
    assert not scratch.exists() and done.verdict == "FAILED" and file.is_file()

    def interrupt(row: DrillRow) -> None:
        raise KeyboardInterrupt

    file.unlink()
    done, file = run_drill(fleet, ["desk"], BEGUN, interrupt)
    assert (done.verdict, len(done.rows)) == ("INTERRUPTED", 1) and file.is_file(), "as with Ctrl-C"
    assert format_report(done).splitlines()[1].split()[:3] == ["link", "desk", "-"]


def test_a_misspelt_node_is_not_found_with_the_nearest_name() -> None:
    class OneNode:
        def get(self, _path: object) -> dict[str, object]:
            return {"nodes": [{"name": "gpubox", "state": "online"}]}

    with pytest.raises(NotFoundError, check=lambda error: "gpubox" in error.fix):
        find_nodes(cast(Client, OneNode()), ["gpubx"])
