"""A host's disk is full, by its owner's files or by the agent: nobody falls silent, nothing is swallowed."""

from __future__ import annotations

import pytest

from tests.e2e.ground import Ground
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_full_while_it_works_the_end_is_still_told(fleet: Owner, healed: Lab, no_walls: None) -> None:
    host = Ground(fleet, healed, 2)
    top = fleet.repository("full")
    task = script(
        "write early.txt 'early\\n'", "say waiting", "await /tmp/full-now 60", "write late.txt 'x\\n'"
    )
    run = fleet.dispatch("--runtime", "scripted", "--node", "node2", task, cwd=top)
    fleet.running(run)
    healed.fault([2], "disk-full")
    host.shell("touch /tmp/full-now")
    until(lambda: host.mark(run) not in ("spawned", "prepared"), "its end is in the journal", 30)
    until(lambda: _problem(fleet, "free"), "the node says so", 20, lambda: fleet.nodes()["node2"])
    assert fleet.state("node2") == "online", "a full disk silences nobody"
    second = fleet.dispatch("--runtime", "shell", "--node", "node2", "--workspace", "none", "echo second")
    healed.fault([2], "disk-full", on=False)
    host.shell("rm -f /tmp/full-now")
    ended = fleet.ended(run, 60)
    assert ended["outcome"] in ("done", "infra", "error"), ended
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    assert fleet.ended(second, 60)["outcome"] == "done", fleet.show(second)
    until(lambda: host.cleaned(run), "acknowledged", 30)


def _problem(fleet: Owner, word: str) -> bool:
    return any(word in problem["what"] for problem in fleet.nodes()["node2"]["problems"])


def test_an_agent_that_fills_the_disk_is_an_error_and_leaves_room_again(fleet: Owner, healed: Lab) -> None:
    host = Ground(fleet, healed, 2)
    top = fleet.repository("filled")
    task = script("write kept.txt 'kept\\n'", "fill big.bin", "answer never")
    run = fleet.dispatch("--runtime", "scripted", "--node", "node2", task, cwd=top)
    ended = fleet.ended(run, 120)
    assert ended["outcome"] in ("error", "infra"), ended
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    until(lambda: host.cleaned(run), "acknowledged", 30)
    free = int(host.shell("df --output=avail -m /home/ops | tail -1"))
    assert free > 512, f"{free} MB are free again"
    after = fleet.ask("dispatch", "--runtime", "shell", "--node", "node2", "--workspace", "none", "echo on")
    assert after["outcome"] == "done"
