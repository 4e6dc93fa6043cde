"""The link is cut during a run, in each way: the run continues, its log is whole, it is delivered once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.crowd import crowded
from tests.e2e.ground import Ground, held
from tests.e2e.owner import Owner, until
from tests.lab import Lab

pytestmark = pytest.mark.slow

TASK = f"echo before; {held('cut')}; echo meanwhile; {held('mended')}; echo after"
LOG = "before\nmeanwhile\nafter\n"


def _cut(fleet: Owner, lab: Lab, k: int, cut: Callable[[], None], repair: Callable[[], None]) -> None:
    """Cut after the first line, for longer than the keepalive; `repair` after the node was missed."""
    host = Ground(fleet, lab, k)
    run = fleet.dispatch("--runtime", "shell", "--node", host.name, "--workspace", "none", TASK)
    fleet.running(run)
    cut()
    fleet.missed(host.name)
    shown = fleet.show(run)
    assert shown["outcome"] is None and shown["state"] == "running", shown
    host.let_go("cut")
    host.let_go("mended")
    host.reached(run, "exited", 30)
    assert fleet.show(run)["outcome"] is None, "nobody can know it yet"
    repair()
    ended = fleet.ended(run, 40)
    assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
    assert fleet.run("runs", "logs", run).ok().out == LOG
    until(lambda: host.cleaned(run), f"{run} is acknowledged", 30)
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"


def test_cut_in_silence_unplugged_and_with_sshd_gone(fleet: Owner, healed: Lab) -> None:
    lab = healed

    def no_sshd() -> None:
        lab.sshd([3], "stop")
        lab.run(3, "pkill -9 -u ops sshd")

    ways: tuple[tuple[int, Callable[[], None], Callable[[], None]], ...] = (
        (1, lambda: lab.drop([1]), lambda: lab.heal([1])),
        (2, lambda: lab.drop([2], "unplug"), lambda: lab.heal([2])),
        (3, no_sshd, lambda: lab.sshd([3], "start")),
    )
    with ThreadPoolExecutor(3) as pool:
        for job in [pool.submit(_cut, fleet, lab, *way) for way in ways]:
            job.result()


def test_a_follower_sees_every_line_once_across_a_short_cut(fleet: Owner, healed: Lab) -> None:
    host = Ground(fleet, healed, 1)
    run = fleet.dispatch("--runtime", "shell", "--node", "node1", "--workspace", "none", TASK)
    fleet.running(run)
    follower = fleet.begin("runs", "logs", "-f", run)
    time.sleep(1)
    healed.drop([1])
    host.let_go("cut")
    time.sleep(3)
    healed.heal([1])
    host.let_go("mended")
    out, err = follower.communicate(timeout=60 * crowded())
    assert (out, follower.returncode) == (LOG, 0), err


def test_a_stop_waits_for_a_node_that_is_away_and_is_obeyed_at_contact(fleet: Owner, healed: Lab) -> None:
    host = Ground(fleet, healed, 2)
    run = fleet.dispatch("--runtime", "shell", "--node", "node2", "--workspace", "none", "sleep 300")
    fleet.running(run)
    healed.drop([2])
    fleet.missed("node2")
    fleet.run("runs", "stop", run).ok()
    shown = fleet.show(run)
    assert shown["state"] == "interrupting" and "not confirmed" in shown["reason"], shown
    assert host.running("sleep", "300"), "a node that is away continues"
    healed.heal([2])
    assert fleet.ended(run, 40)["outcome"] == "interrupted"
    assert not host.running("sleep", "300")
