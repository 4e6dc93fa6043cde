"""More work than slots, and nobody leads: the hosts alone do what was handed over, once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from node_agent.wire.identity import HOLDS_SLOT, Mark
from tests.e2e.fleets import own_fleet, up
from tests.e2e.ground import Ground, kill_coordinator, money, valkey_pid
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow

TASKS = 10
OVER = {*Mark} - HOLDS_SLOT - {Mark.HELD}
"""Marks at which the work is done."""


@pytest.fixture(scope="module")
def two(lab: Lab) -> Iterator[tuple[Owner, tuple[Ground, Ground]]]:
    """A fleet of two hosts, with two slots each."""
    with own_fleet(lab, (1, 2), more={"nodes": {"slots": 2}, "budget": {"ceiling": 100}}) as owner:
        up(owner, 1, 2)
        yield owner, (Ground(owner, lab, 1), Ground(owner, lab, 2))


def _handed_over(owner: Owner, name: str, last: str = "sleep 3", *more: str) -> list[str]:
    """Ten small tasks, of which four are at work and six wait on the hosts."""
    top = owner.repository(name)
    owner.run("fleet", "drain", "--queue", "pool.any").ok()
    runs = [
        owner.dispatch(
            *("--runtime", "scripted", "--budget", "0.05", "--verify", f"test -f made-{number}.txt", *more),
            script(f"write made-{number}.txt 'x\\n'", "usage 10 5 0.01", last),
            cwd=top,
        )
        for number in range(TASKS)
    ]
    owner.run("fleet", "resume", "--queue", "pool.any").ok()
    told = owner.ask("admin", "handover")
    assert told["stays"] == [] and all(one["there"] for one in told["handed"]), told
    assert len(told["handed"]) + told["at_work"] == TASKS and len(told["handed"]) >= TASKS - 4 - 2, told
    why = owner.show(told["handed"][-1]["run"])
    assert why["waits"] == "handed" and why["reason"].startswith("handed to node"), why
    return runs


def _begun(hosts: tuple[Ground, Ground], run: str) -> list[str]:
    """The attempts of it that hosts have begun; what was taken back was refused."""
    entries = [entry for host in hosts for entry in host.entries(run)]
    return [str(entry.identity) for entry in entries if entry.mark is not Mark.REFUSED]


def _done_alone(hosts: tuple[Ground, ...], runs: list[str], what: str) -> None:
    """Each of these hosts has done all that it held, and none of it has been answered."""

    def all_over() -> bool:
        entries = [entry for run in runs for host in hosts for entry in host.entries(run)]
        return bool(entries) and all(entry.mark in OVER for entry in entries)

    until(all_over, what, 120, lambda: {run: [h.mark(run) for h in hosts] for run in runs})


def _all_well(owner: Owner, hosts: tuple[Ground, Ground], runs: list[str], spent: Decimal) -> None:
    for run in runs:
        ended = owner.ended(run, 120)
        assert (ended["outcome"], ended["attempt"]) == ("done", 1), ended
        assert owner.ask("receipt", "verify", run)["verdict"] == "PASS"
        assert len(_begun(hosts, run)) == 1, "in one place"
    assert money(owner) == (spent + Decimal("0.01") * len(runs), Decimal(0)), (
        "each is booked once, nothing is held"
    )


def test_a_frozen_coordinator_finds_all_done_in_the_morning(
    two: tuple[Owner, tuple[Ground, Ground]],
) -> None:
    owner, hosts = two
    spent, _ = money(owner)
    runs = _handed_over(owner, "frozen", "sleep 3", "--land")
    desk = kill_coordinator(owner, signal.SIGSTOP)
    try:
        _done_alone(hosts, runs, "the hosts have done all of it")
    finally:
        os.kill(desk, signal.SIGCONT)
    _all_well(owner, hosts, runs, spent)
    until(lambda: all(owner.show(run)["landed"] for run in runs), "all of them land in the morning", 120)
    top = Path(owner.show(runs[0])["project"])
    assert all((top / f"made-{number}.txt").is_file() for number in range(TASKS))


def test_a_coordinator_without_power_and_a_node_agent_that_was_killed(
    two: tuple[Owner, tuple[Ground, Ground]],
) -> None:
    owner, hosts = two
    spent, _ = money(owner)
    runs = _handed_over(owner, "dark")
    server = valkey_pid(owner)
    kill_coordinator(owner)
    os.kill(server, signal.SIGKILL)
    hosts[1].kill_agent()
    _done_alone(hosts[:1], runs, "one host has done all of its share")
    waits = [entry for run in runs for entry in hosts[1].entries(run) if entry.mark is Mark.HELD]
    assert waits, "the other has work that waits for its node agent"
    up(owner, 1, 2)
    _all_well(owner, hosts, runs, spent)


def test_what_is_stopped_before_it_has_begun_never_does(two: tuple[Owner, tuple[Ground, Ground]]) -> None:
    owner, _ = two
    spent, _ = money(owner)
    runs = _handed_over(owner, "morning", "sleep 60")
    handed = [run for run in runs if owner.look(run)["waits"] == "handed"]
    for run in (*handed, *(run for run in runs if run not in handed)):  # else a slot would be free for one
        owner.run("runs", "stop", run).ok()
    for run in runs:
        ended = owner.ended(run)
        assert ended["outcome"] == "interrupted", ended
        assert (ended["started_at"] is None) is (run in handed), ended
    assert len(handed) == TASKS - 4 and money(owner)[1] == 0


def test_a_machine_that_is_put_down_gives_back_what_waits_there(
    two: tuple[Owner, tuple[Ground, Ground]],
) -> None:
    owner, hosts = two
    spent, _ = money(owner)
    runs = _handed_over(owner, "down", "sleep 5")
    owner.run("fleet", "down", "node1", "--now").ok()
    try:
        held = [entry for run in runs for entry in hosts[0].entries(run) if entry.mark is Mark.HELD]
        assert not held, "it was told to give them back before its node agent ended"
    finally:
        up(owner, 1)
    _all_well(owner, hosts, runs, spent)
