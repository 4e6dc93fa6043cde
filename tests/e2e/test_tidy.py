"""What a test that failed half way leaves behind does not reach the next one."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.conftest import SESSION
from tests.e2e.ground import coordinator_pid, kill_coordinator
from tests.e2e.owner import Owner
from tests.e2e.tidy import Session, fleet_of, living_on
from tests.lab import Lab

pytestmark = pytest.mark.slow

NONE = ("--runtime", "shell", "--workspace", "none")


@pytest.fixture
def session(request: pytest.FixtureRequest, fleet: Owner) -> Session:
    return request.config.stash[SESSION]


def _works(fleet: Owner, lab: Lab) -> None:
    for k in lab.hosts:
        done = fleet.ask("dispatch", *NONE, "--node", f"node{k}", "true")
        assert done["outcome"] == "done", done


def test_runs_pauses_and_faults_are_undone(session: Session, fleet: Owner, lab: Lab) -> None:
    run = fleet.dispatch(*NONE, "--node", "node1", "sleep 300")
    fleet.running(run)
    fleet.run("fleet", "drain", "--queue", "pool.any").ok()
    fleet.run("fleet", "drain", "node3", "--reason", "a test").ok()
    lab.drop([1])
    lab.poweroff([2])
    lab.fault([3], "disk-full")
    os.kill(coordinator_pid(fleet), signal.SIGSTOP)
    session.after_failure()
    assert fleet.show(run)["outcome"] == "interrupted"
    _works(fleet, lab)


def test_a_fleet_beyond_repair_is_made_anew(session: Session, fleet: Owner, lab: Lab) -> None:
    before = session.name
    kill_coordinator(fleet)
    for part in fleet.fleet_home.glob("ledger.db*"):
        part.write_bytes(b"no ledger")
    session.after_failure()
    assert session.name == fleet_of(fleet) != before and before not in living_on(lab)
    _works(fleet, lab)
