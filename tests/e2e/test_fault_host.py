"""A host is frozen, powered off and booted, and lost for good: what its runs then are, and who delivers."""

from __future__ import annotations

import pytest

from tests.e2e.ground import Ground, held
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_frozen_for_longer_than_the_keepalive_and_thawed(fleet: Owner, healed: Lab) -> None:
    task = f"echo before; {held('thawed')}; echo after"
    run = fleet.dispatch("--runtime", "shell", "--node", "node2", "--workspace", "none", task)
    fleet.running(run)
    healed.freeze([2])
    fleet.missed("node2")
    healed.thaw([2])
    Ground(fleet, healed, 2).let_go("thawed")
    ended = fleet.ended(run, 60)
    assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
    assert fleet.run("runs", "logs", run).ok().out == "before\nafter\n"


def test_powered_off_and_booted_the_agent_is_started_at_contact(
    fleet: Owner, healed: Lab, no_sandboxes: None
) -> None:
    """The attempt that the power took is `infra`; the work is tried once more, from what was salvaged on."""
    host = Ground(fleet, healed, 2)
    top = fleet.repository("powered")
    task = script("write half.txt 'x\\n'", "await /tmp/power-was-off 60")
    run = fleet.dispatch("--runtime", "scripted", "--node", "node2", task, cwd=top)
    fleet.running(run)
    healed.poweroff([2])
    fleet.missed("node2")
    shown = fleet.show(run)
    assert shown["outcome"] is None, "silence is not an end"
    healed.boot([2])
    host.shell("touch /tmp/power-was-off")
    ended = fleet.ended(run, 60)
    assert (ended["outcome"], ended["attempt"]) == ("done", 2), ended
    first = next(a for a in ended["attempts"] if a["attempt"] == 1)
    assert first["outcome"] == "infra", first
    until(lambda: fleet.seen("node2") == "online", "node2 is online")
    assert host.agent() is not None
