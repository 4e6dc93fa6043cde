"""The coordinator is killed during a run, around the enqueue, at settlement: nothing is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from decimal import Decimal

import pytest

from tests.e2e.ground import Ground, coordinator_pid, held, kill_coordinator, money
from tests.e2e.owner import Owner, until
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_killed_during_a_run(fleet: Owner, lab: Lab) -> None:
    task = f"echo before; {held('orphaned')}; echo after"
    runs = [
        fleet.dispatch("--runtime", "shell", "--node", f"node{k}", "--workspace", "none", task)
        for k in (1, 2)
    ]
    for run in runs:
        fleet.running(run)
    kill_coordinator(fleet)
    for k in (1, 2):
        Ground(fleet, lab, k).let_go("orphaned")
    for run in runs:
        ended = fleet.ended(run, 60)
        assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
        assert fleet.run("runs", "logs", run).ok().out == "before\nafter\n"
        assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"


@pytest.mark.parametrize("seed", range(3))
def test_killed_around_the_enqueue(fleet: Owner, lab: Lab, seed: int) -> None:
    """Two moments for each seed, spread over a dispatch from its start to after its answer."""
    host = Ground(fleet, lab, 1)
    dice = random.Random(seed)
    spent, _ = money(fleet)
    for number in range(2):
        known = {r["run"] for r in fleet.ask("runs", "50")["runs"]}
        pid = coordinator_pid(fleet)
        once = f"/tmp/enqueued-{seed}-{number}"
        asked = fleet.begin(
            *("dispatch", "--detach", "--json", "--runtime", "shell", "--node", "node1"),
            *("--workspace", "none", f"echo x >> {once}"),
        )
        time.sleep(dice.uniform(0.1, 0.6))
        os.kill(pid, signal.SIGKILL)
        out, err = asked.communicate(timeout=60)
        fresh = [r["run"] for r in fleet.ask("runs", "50")["runs"] if r["run"] not in known]
        assert len(fresh) <= 1, fresh
        if asked.returncode == 0:
            assert fresh and fresh[0] in out, "what was promised is there"
        else:
            assert "error" in err, err
        for run in fresh:
            ended = fleet.ended(run, 60)
            assert ended["outcome"] == "done", ended
        assert host.shell(f"cat {once} 2>/dev/null") == "x\n" * len(fresh), "each ran once"
    assert money(fleet) == (spent, "0.00") or Decimal(money(fleet)[1]) == 0, "no hold is left"


def test_killed_at_settlement(fleet: Owner, lab: Lab) -> None:
    host = Ground(fleet, lab, 2)
    for ms in (0, 15, 40):
        pid, known = coordinator_pid(fleet), host.names()
        words = ("--runtime", "shell", "--node", "node2", "--workspace", "none", "echo settled")
        asked = fleet.begin("dispatch", "--detach", "--json", *words)
        sealed = {"receipted", "acknowledged"}
        until(lambda: any(e.mark.value in sealed for e in host.fresh(known)), "it is sealed", 30)  # noqa: B023
        time.sleep(ms / 1000)
        os.kill(pid, signal.SIGKILL)
        run = json.loads(asked.communicate(timeout=60)[0])["run"]
        ended = fleet.ended(run, 60)
        assert (ended["outcome"], ended["attempt"]) == ("done", 1), (ms, ended)
        assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
        until(lambda run=run: host.cleaned(run), f"{run} is acknowledged ({ms} ms)", 40)  # type: ignore[misc]
    assert Decimal(money(fleet)[1]) == 0, "no hold is left"
