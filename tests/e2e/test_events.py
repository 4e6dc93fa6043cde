"""`pancode audit --events` beside a real fleet: all that happens, in order, once, also over a restart."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import IO, Any

import pytest

from pancode.kernel.errors import ExitCode
from tests.crowd import crowded
from tests.e2e.ground import kill_coordinator
from tests.e2e.owner import Owner, until

pytestmark = pytest.mark.slow
RUN = ["run.queued", "run.placed", *["run.stage"] * 5, "run.ended"]


def test_who_follows_hears_of_every_run_and_node(fleet: Owner) -> None:
    last = fleet.run("audit", "--events", "-n", "1", "--json").ok().json()["number"]
    named = fleet.ask("dispatch", "--runtime", "shell", "--workspace", "none", "--node", "node1", "true")[
        "run"
    ]
    told = [
        json.loads(line)
        for line in fleet.run("audit", "--events", "--run", named, "--json").ok().out.splitlines()
    ]
    kinds = [one["kind"] for one in told]
    assert [kind for kind in kinds if kind != "run.waits"] == RUN, kinds
    assert told[-1]["data"]["outcome"] == "done" and told[-1]["node"] == "node1"
    numbers = [one["number"] for one in told]
    assert numbers == sorted(set(numbers)) and numbers[0] > last
    nodes = fleet.run("audit", "--events", "-n", "500", "--kind", "node", "--json").ok().out.splitlines()
    assert {"node1", "node2", "node3"} <= {json.loads(one)["node"] for one in nodes}


def test_it_goes_on_where_it_was_when_the_coordinator_comes_back(fleet: Owner) -> None:
    told: list[dict[str, Any]] = []
    fleet.ended(fleet.dispatch("--runtime", "shell", "--workspace", "none", "--node", "node1", "true"))
    follower = fleet.begin("audit", "--events", "-f", "-n", "1", "--json")
    reader = threading.Thread(target=_read, args=(follower.stdout, told), daemon=True)
    reader.start()
    until(lambda: bool(told), "it follows")
    first = _done(fleet, told)
    kill_coordinator(fleet)
    second = _done(fleet, told)
    for run in (first, second):
        mine = [e["kind"] for e in told if e["run"] == run and e["kind"] != "run.waits"]
        assert mine == RUN, mine
    numbers = [e["number"] for e in told]
    assert numbers == sorted(set(numbers)), "each once, in order"
    os.kill(follower.pid, signal.SIGINT)
    assert follower.wait(20 * crowded()) == ExitCode.DETACHED
    reader.join(20 * crowded())
    for pipe in (follower.stdout, follower.stderr):
        assert pipe is not None
        pipe.close()


def _read(out: IO[str], told: list[dict[str, Any]]) -> None:
    for line in out:
        told.append(json.loads(line))


def _done(fleet: Owner, told: list[dict[str, Any]]) -> str:
    """A run that the follower has heard the end of."""
    fleet.state("node1")  # starts a coordinator
    until(lambda: fleet.state("node1") == "online", "the node is heard")
    run = fleet.dispatch("--runtime", "shell", "--workspace", "none", "--node", "node1", "true")
    until(lambda: ("run.ended", run) in [(e["kind"], e["run"]) for e in told], "its end is told")
    return run
