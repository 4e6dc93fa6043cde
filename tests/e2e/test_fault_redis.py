"""Redis is killed, wiped and hung while runs wait and work: each is delivered once."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.ground import Ground, held, redis_open, valkey_pid
from tests.e2e.owner import Owner, until
from tests.lab import Lab

pytestmark = pytest.mark.slow


def _work(fleet: Owner, lab: Lab, name: str) -> tuple[Ground, list[str]]:
    """Four runs for the two slots of node3: two work, two wait."""
    host = Ground(fleet, lab, 3)
    runs = [
        fleet.dispatch(
            *("--runtime", "shell", "--node", "node3", "--workspace", "none"),
            f"echo x >> /tmp/{name}-{number}; echo begun; {held(f'{name}-go-{number}')}; echo ended",
        )
        for number in range(4)
    ]
    until(lambda: sum(fleet.look(r)["state"] == "running" for r in runs) == 2, "two work", 30)
    return host, runs


def _all_once(fleet: Owner, host: Ground, name: str, runs: list[str]) -> None:
    for number in range(len(runs)):
        host.let_go(f"{name}-go-{number}")
    for number, run in enumerate(runs):
        ended = fleet.ended(run, 60)
        assert (ended["outcome"], ended["attempt"]) == ("done", 1), ended
        assert fleet.run("runs", "logs", run).ok().out == "begun\nended\n"
        assert host.shell(f"cat /tmp/{name}-{number}") == "x\n", "it ran once"
        until(lambda run=run: host.cleaned(run), f"{run} is acknowledged", 40)  # type: ignore[misc]


def test_killed_it_comes_back(fleet: Owner, lab: Lab) -> None:
    host, runs = _work(fleet, lab, "killed")
    pid = valkey_pid(fleet)
    os.kill(pid, signal.SIGKILL)
    _all_once(fleet, host, "killed", runs)
    assert valkey_pid(fleet) != pid


def test_wiped_it_is_filled_again(fleet: Owner, lab: Lab) -> None:
    host, runs = _work(fleet, lab, "wiped")
    with redis_open(fleet) as client:
        client.flushall()
        client.execute_command("ACL", "DELUSER", f"node-{host.tag}")
    _all_once(fleet, host, "wiped", runs)


def test_hung_it_is_replaced(fleet: Owner, lab: Lab) -> None:
    host, runs = _work(fleet, lab, "hung")
    pid = valkey_pid(fleet)
    os.kill(pid, signal.SIGSTOP)
    _all_once(fleet, host, "hung", runs)
    assert valkey_pid(fleet) != pid


def test_what_rq_itself_reads_is_the_same_after_all_that(fleet: Owner, lab: Lab) -> None:
    """No registry keeps a phantom: nothing is started, nothing waits."""
    tag = Ground(fleet, lab, 3).tag
    with redis_open(fleet) as client:
        until(lambda: client.zcard(f"rq:wip:node.{tag}") == 0, "no job is started", 20)
        assert client.llen(f"rq:queue:node.{tag}") == 0
