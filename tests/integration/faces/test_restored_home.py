"""A home that was put back only answers what reads, however its coordinator is started, until `fleet up`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pancode.kernel.host.files import COPIED_S
from tests.integration.faces.conftest import Shell

pytestmark = pytest.mark.slow


@pytest.fixture
def used(pancode: Shell) -> Iterator[Shell]:
    """The home of a fleet with a node, which never was brought up; its coordinator has ended."""
    assert pancode("node", "add", "here", "--local").status == 0
    assert pancode("fleet", "down", "--now").status == 0
    (pancode.home / "run/down").unlink()
    yield pancode
    pancode("fleet", "down", "--now")


def _leaves_it_out(epoch: Path) -> None:
    """As `admin restore`, and an archive as the page says."""
    epoch.unlink()


def _brings_it_along(epoch: Path) -> None:
    text, old = epoch.read_text(), epoch.stat().st_mtime - COPIED_S - 1
    epoch.rename(epoch.with_name("run") / "was")  # so that the copy is another inode
    epoch.write_text(text)
    os.utime(epoch, (old, old))


@pytest.mark.parametrize("restores", [_leaves_it_out, _brings_it_along])
def test_it_is_held_until_a_user_takes_it_up(used: Shell, restores: Callable[[Path], None]) -> None:
    epoch = used.home / "epoch"
    restores(epoch)
    before = epoch.read_bytes() if epoch.exists() else None

    time.sleep(1.1)  # the API gives times in seconds
    restored_at = datetime.now(UTC).isoformat()
    assert used("serve", "--background").status == 0, "as a service starts it"
    shown = used("node", "ls", "--json")
    held = shown.data["coordinator"]["held"]
    assert shown.status == 0 and held["mode"] == "held" and held["fix"] == "pancode fleet up"
    seen = used("runs")
    assert seen.status == 0 and "note: this home was restored" in seen.err and "pancode fleet up" in seen.err
    refused = used("dispatch", "--runtime", "shell", "--workspace", "none", "--json", "--", "true")
    assert refused.status == 5 and refused.error["code"] == "fleet_held"
    asked = used("fleet", "up", "here", "--json")
    assert asked.status == 2 and asked.error["code"] == "cannot_ask"
    assert asked.error["fix"] == "pancode fleet up here --yes"
    assert (epoch.read_bytes() if epoch.exists() else None) == before, "no epoch begins"

    assert used("fleet", "up", "--yes", "nobody").status == 4
    still = used("node", "ls", "--json").data["coordinator"]["held"]
    assert still is not None, "a mistyped name changes nothing"
    used("fleet", "up", "here", "--yes", timeout_s=120)
    assert used("node", "ls", "--json").data["coordinator"]["held"] is None
    taken = [one for one in used("audit", "--json").data["audit"] if one["what"] == "taken up"]
    assert len(taken) == 1, json.dumps(taken)
    since = used("fleet", "resume", "--held", "--json").data["since"]
    assert since < restored_at, "the newest event of the copy, from which on the nodes are asked"
    assert used("fleet", "down", "--now").status == 0
    (used.home / "run/down").unlink()
    assert used("node", "ls", "--json").data["coordinator"]["held"] is None, "it leads from now on"
