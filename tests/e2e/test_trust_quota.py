"""A node that fills Redis through its own tunnel is shut out, named, and let in again by one command."""

from __future__ import annotations

import subprocess

import pytest

from tests.crowd import crowded
from tests.e2e.enemy import CLIENT
from tests.e2e.ground import Ground, audited, held, redis_open
from tests.e2e.owner import Owner, until
from tests.lab import Lab

pytestmark = pytest.mark.slow

FLOOD = (
    CLIENT
    + """
import sys
home, tag = sys.argv[1:]
client = Client(*of_node(home))
piece, sent = b"x" * 2**20, 0
try:
    while sent < 2_000:
        client.ask("HSET", f"rq:job:{tag}_{sent}", "a", piece)
        client.ask("XADD", f"pancode:up:{tag}", "*", "e", piece)
        sent += 2
    print("never stopped")
except (OSError, Refused) as e:
    print("stopped after", sent, type(e).__name__)
"""
)


def test_a_node_that_floods_redis_is_quarantined_and_the_others_go_on(fleet: Owner, lab: Lab) -> None:
    one = Ground(fleet, lab, 1)
    running = fleet.dispatch("--node", "node1", "--runtime", "shell", "--workspace", "none", held("quota"))
    fleet.running(running)
    done = subprocess.run(
        [*lab.enter(1), "/usr/bin/python3", "-I", "-S", "-c", FLOOD, one.inside, one.tag],
        capture_output=True,
        text=True,
        check=False,
        timeout=120 * crowded(),
    )
    try:
        assert done.stdout.startswith("stopped after"), done.stdout + done.stderr
        until(lambda: fleet.seen("node1") == "quarantined", "node1 is quarantined", 20, fleet.nodes)
        _is_told(fleet, running)
        with redis_open(fleet) as client:  # which frees in its own time what was deleted
            until(lambda: client.info("memory")["used_memory"] < 64 * 2**20, "what it had put there is gone")
        other = fleet.dispatch("--node", "node2", "--runtime", "shell", "--workspace", "none", "echo fine")
        assert fleet.ended(other)["outcome"] == "done"
        up = fleet.run("fleet", "up", "node1")
        assert up.code == 6 and "quarantined" in up.out and "pancode fleet resume node1" in up.out, up
        assert fleet.show(running)["outcome"] is None
    finally:
        said = fleet.run("fleet", "resume", "node1").ok().out
        one.let_go("quota")
    assert said == "node1 is out of quarantine\nin service: node1\n"
    until(lambda: fleet.seen("node1") == "online", "node1 is online", 30, fleet.nodes)
    assert fleet.ended(running)["outcome"] == "done", "it ran on, and delivered"
    assert fleet.run("receipt", "verify", running).ok().out.startswith("PASS")


def _is_told(fleet: Owner, running: str) -> None:
    """In the run's own words, in the table, by doctor and in the audit, each with the way out."""
    shown = fleet.show(running)
    assert shown["state"] == "running" and "node1 is quarantined: the node stored" in shown["notes"][0], shown
    status = fleet.run("fleet", "status").ok().out
    assert "node1 is quarantined: the node stored" in status and "(nodes.redis_quota)" in status
    assert "pancode fleet resume node1" in status
    doctor = fleet.run("doctor", "node1")
    assert doctor.code == 20 and "quarantined" in doctor.out and "pancode fleet resume node1" in doctor.out
    assert "quarantined" in fleet.run("why", running).ok().out
    assert any(e["what"] == "node quarantined" for e in audited(fleet))
