"""Two fleets on one node and one node; down with runs in flight and up again; drained; upgraded."""

from __future__ import annotations

from pathlib import Path

import pytest

import pancode
from tests.e2e.fleets import next_release, own_fleet, up
from tests.e2e.ground import Ground, held
from tests.e2e.owner import Owner, until
from tests.lab import Lab

pytestmark = pytest.mark.slow

NONE = ("--runtime", "shell", "--workspace", "none")


def _down_with_runs_in_flight_asks_and_up_delivers(owner: Owner, lab: Lab) -> None:
    task = f"echo a; {held('down')}; echo b"
    runs = [owner.dispatch(*NONE, "--node", f"node{k}", task) for k in (1, 2)]
    for run in runs:
        owner.running(run)
    hosts = [Ground(owner, lab, k) for k in (1, 2)]
    refused = owner.run("fleet", "down")
    assert refused.code != 0 and "in flight" in refused.out + refused.err, refused
    assert all(host.agent() for host in hosts)
    owner.run("fleet", "down", "--now").ok()
    until(lambda: not any(host.agent() for host in hosts), "the node agents are gone", 15)
    assert owner.run("fleet", "status").code == 6, "looking starts nothing that was taken down"
    owner.run("serve", "--background").ok()
    assert owner.nodes()["node1"]["state"] != "online", "that starts the coordinator, not the nodes"
    assert not any(host.agent() for host in hosts)
    for host in hosts:
        host.let_go("down")
    up(owner, 1, 2)
    for run, host in zip(runs, hosts, strict=True):
        ended = owner.ended(run, 60)
        assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
        assert owner.run("runs", "logs", run).ok().out == "a\nb\n"
        until(lambda run=run, host=host: host.cleaned(run), "acknowledged", 30)  # type: ignore[misc]


def test_two_fleets_know_nothing_of_each_other_and_one_goes_down_and_up_with_runs_in_flight(
    fleet: Owner, healed: Lab, local: str
) -> None:
    with own_fleet(healed, [1, 2]) as owner:
        owner.run("node", "add", local, "--local").ok()  # this machine, too, as in the other fleet
        owner.run("fleet", "up", timeout_s=180).ok()
        here, there = Ground(owner, healed, 1), Ground(fleet, healed, 1)
        assert here.fleet != there.fleet and here.tag != there.tag and here.agent() != there.agent()
        pairs = [(who, node) for who in (owner, fleet) for node in ("node1", local)]
        runs = [who.dispatch(*NONE, "--node", node, "sleep 1; pwd") for who, node in pairs]
        places = set()
        for (who, _), run in zip(pairs, runs, strict=True):
            assert who.ended(run)["outcome"] == "done"
            places.add(who.run("runs", "logs", run).ok().out)
        assert len(places) == 4, places
        mine, theirs = ({r["run"] for r in who.ask("runs", "50")["runs"]} for who in (owner, fleet))
        assert not mine & theirs
        agent = there.agent()
        _down_with_runs_in_flight_asks_and_up_delivers(owner, healed)
        assert there.agent() == agent
    assert fleet.ask("dispatch", *NONE, "--node", "node1", "true")["outcome"] == "done"


def test_a_drained_node_ends_what_it_has_and_takes_nothing_until_resumed(fleet: Owner, healed: Lab) -> None:
    first = fleet.dispatch(*NONE, "--node", "node2", f"{held('drained')}; echo first")
    fleet.running(first)
    fleet.run("fleet", "drain", "node2", "--reason", "new disk").ok()
    try:
        assert fleet.state("node2") == "draining"
        second = fleet.dispatch(*NONE, "--node", "node2", "echo second")
        Ground(fleet, healed, 2).let_go("drained")
        assert fleet.ended(first)["outcome"] == "done"
        until(lambda: fleet.seen("node2") == "drained", "nothing runs there", 20)
        assert fleet.show(second)["state"] == "pending"
        assert "new disk" in fleet.show(second)["reason"], fleet.show(second)
    finally:
        fleet.run("fleet", "resume", "node2").ok()
    assert fleet.ended(second)["outcome"] == "done"


def _older_coordinator_serves_the_newer_command(owner: Owner, newer: str, run: str) -> None:
    """Nothing is changed over behind anybody's back: it says so, and works on until it is taken down."""
    status = owner.run("fleet", "status").ok().out
    assert pancode.__version__ in status.splitlines()[0]
    assert f"this command is {newer}; to switch: pancode fleet down, pancode fleet up" in status
    assert owner.ask("dispatch", *NONE, "--node", "node1", "true")["outcome"] == "done"
    assert owner.show(run)["state"] == "running"
    assert owner.nodes()["node1"]["version"] == pancode.__version__


def test_an_upgrade_swaps_the_bundle_and_running_attempts_go_on(healed: Lab, tmp_path: Path) -> None:
    newer = next_release(tmp_path)
    with own_fleet(healed, [1]) as owner:
        up(owner, 1)
        host = Ground(owner, healed, 1)
        task = f"echo before; {held('upgraded')}; echo after"
        run = owner.dispatch(*NONE, "--node", "node1", task)
        owner.running(run)
        old, bundle = host.agent(), host.shell(f"readlink {host.inside}/current")
        assert owner.nodes()["node1"]["version"] == pancode.__version__
        owner.env["PYTHONPATH"] = str(tmp_path)
        assert newer in owner.run("--version").ok().out
        _older_coordinator_serves_the_newer_command(owner, newer, run)
        owner.run("fleet", "down", "--now").ok()
        answer = owner.ask("fleet", "up", "node1", timeout_s=120)
        assert {"bundle", "start"} <= set(answer["results"][0]["changed"]), answer["results"]
        assert owner.nodes()["node1"]["version"] == newer
        assert host.shell(f"readlink {host.inside}/current") != bundle
        assert host.agent() not in (None, old)
        assert owner.show(run)["outcome"] is None, "it still runs, under the old shim"
        host.let_go("upgraded")
        ended = owner.ended(run, 60)
        assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
        assert owner.run("runs", "logs", run).ok().out == "before\nafter\n"
        assert owner.ask("receipt", "verify", run)["verdict"] == "PASS"
        again = owner.ask("fleet", "up", "node1", timeout_s=120)
        assert again["results"][0]["changed"] == [], "a second up changes nothing"
