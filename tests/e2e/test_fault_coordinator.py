"""The coordinator is killed during a run, around the enqueue, at settlement: nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from decimal import Decimal

import pytest

from tests.crowd import crowded
from tests.e2e.ground import Ground, held, kill_coordinator, money
from tests.e2e.owner import Owner, script, until
from tests.e2e.writes import Written, kill_desk_at, writes_held
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


TRIES = 12


@pytest.mark.parametrize("wanted", [Written.ADMITTED, Written.SIGNED, Written.PUSHED, Written.ACCEPTED])
def test_killed_at_each_write_around_the_enqueue(fleet: Owner, lab: Lab, wanted: Written) -> None:
    """A moment that was passed between two looks is tried again; each of those runs is judged as well."""
    host = Ground(fleet, lab, 1)
    spent, still = money(fleet)  # what ended at a cost that nobody knows stays held
    seen: list[Written] = []
    while wanted not in seen:
        assert len(seen) < TRIES, f"never caught at {wanted.name}: {seen}"
        seen.append(_killed_at(fleet, host, wanted, f"/tmp/enqueued-{wanted}-{len(seen)}"))
    assert money(fleet) == (spent, still), "no hold is left"


@contextmanager
def _queue_paused(fleet: Owner, host: Ground) -> Iterator[None]:
    """What could go at once is admitted and signed in one commit; what has to wait, in two."""
    fleet.run("fleet", "drain", "--queue", f"pool.node.{host.name}").ok()
    try:
        yield
    finally:
        fleet.run("fleet", "resume", "--queue", f"pool.node.{host.name}").ok()


def _killed_at(fleet: Owner, host: Ground, wanted: Written, once: str) -> Written:
    """One dispatch; the coordinator is killed at that write of it; the run ends as if nothing had been."""
    known = {r["run"] for r in fleet.ask("runs", "1000")["runs"]}
    work = "sleep 1; " if wanted is Written.ACCEPTED else ""  # else all that is said of it is one commit
    words = ("--runtime", "shell", "--node", host.name, "--workspace", "none", f"{work}echo x >> {once}")
    waits = {Written.ADMITTED: _queue_paused(fleet, host), Written.SIGNED: writes_held(fleet)}
    with waits.get(wanted, nullcontext()):
        asked = fleet.begin("dispatch", "--detach", "--json", *words)
        caught = kill_desk_at(fleet, wanted, known)
    out, err = asked.communicate(timeout=60 * crowded())
    (run,) = [r["run"] for r in fleet.ask("runs", "1000")["runs"] if r["run"] not in known]
    assert (run in out) if asked.returncode == 0 else ("error" in err), (out, err)
    ended = fleet.ended(run, 60)
    assert (ended["outcome"], ended["attempt"]) == ("done", 1), (caught, ended)
    assert host.shell(f"cat {once}") == "x\n", f"{run} ran once, killed when {caught.name}"
    return caught


@pytest.mark.parametrize("wanted", [Written.ARCHIVED, Written.ENDED, Written.ANSWERED])
def test_killed_at_each_write_of_the_settlement(fleet: Owner, lab: Lab, wanted: Written) -> None:
    """Between archive and commit, between commit and answer, and after it: settled once, and acknowledged."""
    host = Ground(fleet, lab, 2)
    spent, still = money(fleet)  # what ended at a cost that nobody knows stays held
    seen: list[Written] = []
    while wanted not in seen:
        assert len(seen) < TRIES, f"never caught at {wanted.name}: {seen}"
        seen.append(_killed_at_settlement(fleet, host, wanted))
    cost = Decimal("0.01") * len(seen)
    assert money(fleet) == (spent + cost, still), "each booked once"


def _killed_at_settlement(fleet: Owner, host: Ground, wanted: Written) -> Written:
    known = {r["run"] for r in fleet.ask("runs", "1000")["runs"]}
    words = ("--runtime", "scripted", "--node", host.name, "--workspace", "none", "--budget", "0.01")
    task = script("usage 10 10 0.01", "answer settled")
    asked = fleet.begin("dispatch", "--detach", "--json", *words, task)
    caught = kill_desk_at(fleet, wanted, known)
    out, err = asked.communicate(timeout=60 * crowded())
    (run,) = [r["run"] for r in fleet.ask("runs", "1000")["runs"] if r["run"] not in known]
    # On a busy node the run ends, and its coordinator with it, before its dispatch is answered.
    assert (run in out) if asked.returncode == 0 else ("error" in err), (out, err)
    ended = fleet.ended(run, 60)
    assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), (caught, ended)
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    until(lambda: host.cleaned(run), f"{run} is acknowledged, killed when {caught.name}", 40)
    return caught
