"""Nodes that come in by TLS without a tunnel: on hosts whose sshd forbids every kind of forwarding."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow
FORBIDDEN = ["DisableForwarding yes"]
ENDED = re.compile(r"unexpected eof|errno=104")
"""The end of a connection, or its reset: which one openssl sees is a matter of moments."""


def free_port(lab: Lab) -> int:
    with socket.socket() as free:
        free.bind((lab.state["coordinator"], 0))
        return int(free.getsockname()[1])


@contextmanager
def direct_fleet(lab: Lab, *hosts: int) -> Iterator[tuple[Owner, str]]:
    """A fleet whose coordinator may be reached from the hosts, and where."""
    place = f"{lab.state['coordinator']}:{free_port(lab)}"
    with own_fleet(lab, hosts, extra={"PANCODE_DIRECT_LISTEN": place}) as owner:
        yield owner, place


def listening(place: str) -> bool:
    host, _, port = place.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def one_run(owner: Owner) -> str:
    """With code there and back, logs and a receipt."""
    top = owner.home / "project"
    top = top if top.exists() else owner.repository(top.name)
    task = script("say hello", "write made.txt 'made\\n'", "usage 10 5 0.02")
    run = owner.ask("dispatch", "--runtime", "scripted", "--node", "node1", task, cwd=top)
    assert (run["outcome"], run["files_changed"]) == ("done", ["made.txt"]), run
    assert "+made" in owner.run("runs", "diff", run["run"]).ok().out
    assert "hello" in owner.run("runs", "logs", run["run"]).ok().out
    assert owner.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
    return str(run["run"])


def test_where_nothing_can_be_forwarded(healed: Lab) -> None:
    """Takes half a minute: two bring-ups, a run, and what another host sees of the port."""
    healed.sshd([1], "restart", FORBIDDEN)
    with direct_fleet(healed, 1) as (owner, place):
        refused = owner.run("fleet", "up", "node1", timeout_s=120)
        assert refused.code == 6
        assert "forbids every kind of forwarding" in refused.out, refused
        assert "pancode fleet up node1 --link direct" in refused.out
        status = owner.run("fleet", "status").ok().out
        assert "forbids every kind of forwarding" in status and "--link direct" in status, status
        owner.run("fleet", "up", "node1", "--link", "direct", timeout_s=180).ok()
        one_run(owner)
        assert owner.ask("fleet", "up", "node1", timeout_s=180)["results"][0]["changed"] == []
        another_host_is_not_let_in(healed, place)
        owner.run("node", "rm", "node1", "--yes").ok()


def another_host_is_not_let_in(lab: Lab, place: str) -> None:
    """By a real openssl: it sees who is there, and the connection ends without a word."""
    ask = (
        f"printf 'PING\\r\\n' | timeout 10 openssl s_client -connect {place} -alpn pancode-redis -quiet 2>&1"
    )
    said = lab.run(2, ask).stdout
    assert "CN = coordinator" in said and ENDED.search(said) and "PONG" not in said, said
    made = "cd /tmp && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout k -out c 2>/dev/null"
    assert lab.run(2, made).returncode == 0
    said = lab.run(2, f"cd /tmp && {ask.replace('-quiet', '-quiet -cert c -key k')}").stdout
    assert "CN = coordinator" in said and ENDED.search(said) and "PONG" not in said, said


def test_a_cut_and_a_coordinator_that_was_killed_cost_nothing(healed: Lab) -> None:
    """Takes a minute: a run continues through a cut network, and another through a coordinator's death."""
    healed.sshd([1], "restart", FORBIDDEN)
    with direct_fleet(healed, 1) as (owner, place):
        owner.run("fleet", "up", "node1", "--link", "direct", timeout_s=180).ok()
        slow = "for i in $(seq 1 8); do echo line $i; sleep 1; done"
        words = ("--runtime", "shell", "--node", "node1", "--workspace", "none", slow)
        cut = owner.dispatch(*words)
        owner.running(cut)
        healed.drop([1])
        owner.missed("node1", 60)
        healed.heal([1])
        whole(owner, cut)
        orphan = owner.dispatch(*words)
        owner.running(orphan)
        pid = owner.coordinator_pid()
        assert pid is not None and listening(place)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not listening(place), "nobody listens")
        whole(owner, orphan)
        one_run(owner)


def whole(owner: Owner, run: str) -> None:
    """Done, once, and every line there."""
    ended = owner.ended(run, 90)
    assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
    assert owner.run("runs", "logs", run).ok().out == "".join(f"line {i}\n" for i in range(1, 9))
    assert owner.ask("receipt", "verify", run)["verdict"] == "PASS"


def test_from_a_tunnel_to_direct_and_back_with_a_run_in_flight(healed: Lab) -> None:
    """Takes half a minute: bring-ups of one node, and a run through all of them."""
    with direct_fleet(healed, 1) as (owner, _):
        up(owner, 1)
        task = "for i in $(seq 1 8); do echo line $i; sleep 2; done"
        run = owner.dispatch("--runtime", "shell", "--node", "node1", "--workspace", "none", task)
        owner.running(run)
        pointer = "cat /home/ops/.pancode-node/f-*/s/current"
        for link, shown in (
            ("direct", '"redis":"tls:'),
            ("ssh", '"redis":"unix:'),
            ("direct", '"redis":"tls:'),
        ):
            said = owner.ask("fleet", "up", "node1", "--link", link, timeout_s=180)
            assert said["results"][0]["ok"], said
            assert shown in healed.run(1, pointer).stdout
            assert owner.state("node1") in ("online", "busy"), owner.nodes()
        whole(owner, run)


def test_an_address_that_is_wrong_is_named_with_its_place_and_a_test(healed: Lab) -> None:
    """Takes half a minute: bring-ups that fail, for an address out of reach and for one not ours."""
    port = free_port(healed)
    with own_fleet(healed, [1], extra={"PANCODE_DIRECT_LISTEN": f"127.0.0.1:{port}"}) as owner:
        refused = owner.run("fleet", "up", "node1", "--link", "direct", timeout_s=120)
        assert refused.code == 6
        for words in (f"127.0.0.1:{port}", "PANCODE_DIRECT_LISTEN", "openssl s_client", "refused"):
            assert words in refused.out, refused
        shown = owner.run("fleet", "status").ok().out
        assert f"127.0.0.1:{port}" in shown and "PANCODE_DIRECT_LISTEN" in shown
        checks = owner.run("fleet", "doctor", "node1", timeout_s=120)
        assert checks.code == 20 and "openssl s_client" in checks.out
        owner.run("fleet", "up", "node1", "--link", "ssh", timeout_s=120).ok()
        refused = owner.run("fleet", "up", "node1", "--link", "direct", timeout_s=120)
        assert refused.code == 6 and "it keeps its tunnel" in refused.out, refused
        until(lambda: owner.run("fleet", "up", "node1", timeout_s=120).code == 0, "it is back in its tunnel")
        owner.run("fleet", "down", "--now").ok()
        owner.env["PANCODE_DIRECT_LISTEN"] = f"10.255.255.1:{port}"
        refused = owner.run("fleet", "up", "node1", "--link", "direct", timeout_s=120)
        assert "10.255.255.1" in refused.out and "ip -brief addr" in refused.out, refused
        for said in (owner.run("fleet", "status"), owner.run("doctor")):
            assert f"10.255.255.1:{port}" in said.out and "direct" in said.out, said
        owner.run("fleet", "down", "--now").ok()
        del owner.env["PANCODE_DIRECT_LISTEN"]
        refused = owner.run("fleet", "up", "node1", "--link", "direct", timeout_s=120)
        assert refused.code == 3 and "direct.listen" in refused.err, refused
        assert not listening(f"127.0.0.1:{port}")
