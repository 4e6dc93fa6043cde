"""One cut of 90 s as the shipped product sees it: no time is scaled here."""

from __future__ import annotations

import time

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.ground import Ground
from tests.e2e.owner import until
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_a_link_cut_for_90_seconds_costs_nothing(healed: Lab) -> None:
    """Takes two minutes, since the cut lasts 90 s and every deadline, keepalive and pause is the real one."""
    with own_fleet(healed, [3], factor=1.0) as owner:
        up(owner, 3)
        host = Ground(owner, healed, 3)
        task = "for i in $(seq 1 60); do echo line $i; sleep 1; done"
        run = owner.dispatch("--runtime", "shell", "--node", "node3", "--workspace", "none", task)
        owner.running(run)
        healed.drop([3])
        began = time.monotonic()
        until(lambda: owner.seen("node3") == "suspect", "node3 is missed", 60)
        assert time.monotonic() - began > 20, "30 s of silence, less the age of the last word"
        host.reached(run, "exited", 80)
        assert owner.show(run)["outcome"] is None
        time.sleep(max(0.0, 90 - (time.monotonic() - began)))
        assert owner.state("node3") == "suspect"
        healed.heal([3])
        ended = owner.ended(run, 60)
        assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
        log = "".join(f"line {i}\n" for i in range(1, 61))
        assert owner.run("runs", "logs", run).ok().out == log
        assert owner.ask("receipt", "verify", run)["verdict"] == "PASS"
        until(lambda: host.cleaned(run), f"{run} is acknowledged", 60)
