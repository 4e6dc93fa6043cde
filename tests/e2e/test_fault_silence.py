"""Silence, as a fleet with short deadlines sees it: lost, heard of again, late; a coordinator that slept."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.crowd import crowded
from tests.e2e.fleets import IMPATIENT, own_fleet, up
from tests.e2e.ground import Ground, held, kill_coordinator, of_all_days
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def owner(lab: Lab) -> Iterator[Owner]:
    """node1 and node2; `lost` comes after 8 s."""
    with own_fleet(lab, [1, 2], timing=IMPATIENT) as owner:
        up(owner, 1, 2)
        yield owner


def test_lost_is_offered_not_rerun_and_a_late_receipt_replaces_it(owner: Owner, healed: Lab) -> None:
    """`lost` after 8 s here; a writing run is not started elsewhere, and its result counts when it comes."""
    words = ("--runtime", "shell", "--node", "node1", "--workspace", "none")
    run = owner.dispatch(*words, f"{held('late')}; echo late")
    owner.running(run)
    healed.drop([1])
    lost = owner.ended(run, 40)
    assert (lost["outcome"], lost["attempt"]) == ("lost", 1), lost
    until(lambda: owner.seen("node1") == "lost", "its node is lost, too", told=owner.nodes)
    assert "lost" in owner.run("runs", "show", run).ok().out
    host = Ground(owner, healed, 1)
    host.let_go("late")
    healed.heal([1])
    until(
        lambda: owner.show(run)["outcome"] == "done",
        "the late receipt counts",
        40,
        lambda: (owner.show(run), host.entries(run), owner.nodes()["node1"], owner.log()),
    )
    assert owner.run("runs", "logs", run).ok().out == "late\n"
    assert owner.ask("receipt", "verify", run)["verdict"] == "PASS"


def test_who_waits_for_a_lost_run_is_told_by_the_status_16(owner: Owner, healed: Lab) -> None:
    """That it still runs is said only when its machine has said so since; a stop is not confirmed."""
    words = ("--runtime", "shell", "--node", "node1", "--workspace", "none")
    known = {r["run"] for r in owner.ask("runs", "1000")["runs"]}
    asked = owner.begin("dispatch", "--json", *words, held("sixteen"))
    until(lambda: [r for r in owner.ask("runs", "1000")["runs"] if r["run"] not in known], "it is queued")
    (run,) = [r["run"] for r in owner.ask("runs", "1000")["runs"] if r["run"] not in known]
    owner.running(run)
    healed.drop([1])
    out, err = asked.communicate(timeout=90 * crowded())
    assert asked.returncode == 16, (asked.returncode, out, err)
    assert json.loads(out)["outcome"] == "lost", out
    assert owner.show(run)["notes"] == [], "nobody has heard of it since"
    stopped = owner.run("runs", "stop", run).ok().out
    assert "stop requested, not confirmed by node1" in stopped, stopped
    healed.heal([1])
    until(lambda: owner.look(run)["outcome"] == "interrupted", "confirmed", 60, lambda: owner.show(run))
    assert owner.show(run)["notes"] == []


def test_an_old_lease_that_is_delivered_late_is_evidence_and_cost(
    owner: Owner, healed: Lab, no_sandboxes: None
) -> None:
    """Its owner said `--on-lost retry`: the second attempt wins; what the first cost is on record."""
    top = owner.repository("late")
    task = script("write where.txt 'x\\n'", "usage 10 10 0.02", "await /tmp/old-lease 60")
    run = owner.dispatch("--runtime", "scripted", "--on-lost", "retry", task, cwd=top)
    first = owner.running(run)["node"]
    k = int(first[-1])
    host = Ground(owner, healed, k)
    healed.drop([k])
    for one in (1, 2):
        Ground(owner, healed, one).let_go("old-lease")
    host.reached(run, "exited", 30)
    until(lambda: owner.look(run)["attempt"] == 2, "it is tried elsewhere", 40, lambda: owner.show(run))
    ended = owner.ended(run, 60)
    assert (ended["outcome"], ended["attempt"]) == ("done", 2) and ended["node"] != first, ended
    healed.heal([k])
    until(lambda: host.cleaned(run), "the old lease is acknowledged", 40, lambda: host.entries(run))
    after = owner.show(run)
    assert {key: after[key] for key in ("outcome", "attempt", "node", "commit", "receipt")} == {
        key: ended[key] for key in ("outcome", "attempt", "node", "commit", "receipt")
    }, "it changed nothing"
    old = next(a for a in after["attempts"] if a["attempt"] == 1)
    assert old["outcome"] == "superseded", after["attempts"]
    disputed, kept = of_all_days(owner, "disputed_usd", "held_usd")
    assert (disputed, kept) == (Decimal("0.04"), Decimal(0)), "both claims are on record"


def test_frozen_for_longer_than_every_deadline_nothing_is_declared_lost(owner: Owner) -> None:
    short, long = (
        owner.dispatch("--runtime", "shell", "--node", node, "--workspace", "none", f"sleep {s}; echo ok")
        for node, s in (("node1", 9), ("node2", 20))
    )
    for run in (short, long):
        owner.running(run)
    pid = kill_coordinator(owner, signal.SIGSTOP)
    time.sleep(12)  # `lost` is 8 s here
    os.kill(pid, signal.SIGCONT)
    for run in (short, long):
        ended = owner.ended(run, 60)
        assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
        story = owner.ask("why", run)["decisions"]
        assert not [d for d in story if d["verdict"] == "lost"], story
    until(lambda: {n["state"] for n in owner.nodes().values()} == {"online"}, "all online", told=owner.nodes)


def test_the_doctor_starts_an_agent_that_hangs_again_and_its_run_goes_on(owner: Owner, lab: Lab) -> None:
    words = ("--runtime", "shell", "--node", "node1", "--workspace", "none")
    run = owner.dispatch(*words, f"{held('hung')}; echo ok")
    owner.running(run)
    host = Ground(owner, lab, 1)
    before = host.agent()
    assert before is not None
    os.kill(before, signal.SIGSTOP)
    until(lambda: owner.seen("node1") in ("unreachable", "lost"), "it is missed", told=owner.nodes)
    said = owner.run("doctor", "--fix", "--yes", timeout_s=180)
    assert "the link to node1 is up, but its node agent does not report" in said.err, said
    assert "done: pancode fleet up node1" in said.err, said
    assert owner.state("node1") == "online" and host.agent() not in (before, None)
    host.let_go("hung")
    until(lambda: owner.show(run)["outcome"] == "done", "it continues", 60, lambda: owner.show(run))
    assert owner.show(run)["attempt"] == 1
