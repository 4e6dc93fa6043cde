"""Under a live systemd the node agent is a user unit: it outlives SSH, boots, is upgraded and taken out.

The tests share one fleet and go through its life in order.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import pancode
from tests.e2e.fleets import next_release, own_fleet, up
from tests.e2e.ground import Ground, held, kill_coordinator
from tests.e2e.owner import Owner, until
from tests.lab import Lab, missing, own_name, reap, systemd
from tests.lab.lab import Spec

pytestmark = pytest.mark.slow

NONE = ("--runtime", "shell", "--workspace", "none", "--node", "node1")
LEFT = """cd /home/ops && find . -printf '%y %p\\n' | sort; cat .ssh/authorized_keys
find /tmp /var/tmp /dev/shm -user ops | sort; find /run/user -name 'pancode*' | sort
find /sys/fs/cgroup -name "pancode*" | sort
ps -u ops -o args= | grep -vE 'sshd|systemd --user|sd-pam' | sort"""


def as_user(lab: Lab, *words: str) -> str:
    """What a command of the login user says, with that user's manager at hand."""
    uid = lab.hosts[1]["uid"]
    become = f"setpriv --reuid {uid} --regid {uid} --clear-groups env XDG_RUNTIME_DIR=/run/user/{uid}"
    return lab.run(1, f"{become} {shlex.join(words)}").stdout.strip()


class LiveHost(Ground):
    """Host 1 of the lab, and what its user's manager says."""

    @property
    def unit(self) -> str:
        return f"pancode-node-{self.fleet}.service"

    def told(self, *words: str) -> str:
        """What a command of the login user says there."""
        return as_user(self.lab, *words)

    def shows(self, name: str) -> str:
        return self.told("systemctl", "--user", "show", "--value", "-p", name, self.unit)

    def group(self, pid: int | None) -> str:
        """The control group of a process, by the number that this machine has for it."""
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        return next(line for line in lines if line.startswith("0::")).rpartition("/")[2]

    def is_unit(self) -> bool:
        pid = self.agent()
        return pid is not None and self.group(pid) == self.unit and self.shows("ActiveState") == "active"


@pytest.fixture(scope="module")
def live() -> Iterator[Lab]:
    """One host whose PID 1 is systemd; in CI a machine that cannot hold it is a failure."""
    lacks = missing() + systemd.lacks()
    if lacks:
        reason = "a host with a live systemd needs: " + "; ".join(lacks)
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    reap()
    with Lab(own_name("s"), owned=True).up(1, Spec(home_mb=1024, systemd=True), replace=True) as lab:
        yield lab


@pytest.fixture(scope="module")
def before(live: Lab) -> str:
    until(lambda: as_user(live, "systemctl", "--user", "is-system-running") == "running", "a manager")
    return live.run(1, LEFT).stdout


@pytest.fixture(scope="module")
def owner(live: Lab, before: str) -> Iterator[Owner]:
    with own_fleet(live, [1]) as owner:
        up(owner, 1)
        yield owner


@pytest.fixture
def host(owner: Owner, live: Lab) -> LiveHost:
    return LiveHost(owner, live, 1)


def test_up_makes_a_unit_and_a_second_up_changes_nothing(owner: Owner, host: LiveHost) -> None:
    assert host.is_unit(), host.told("systemctl", "--user", "status", host.unit)
    assert (host.shows("UnitFileState"), host.shows("NRestarts")) == ("enabled", "0")
    pid = host.agent()
    assert owner.ask("fleet", "up", "node1")["results"][0]["changed"] == []
    assert host.agent() == pid


def test_it_outlives_every_ssh_session_and_the_sshd(owner: Owner, live: Lab, host: LiveHost) -> None:
    run = owner.dispatch(*NONE, f"echo before; {held('ssh')}; echo after")
    owner.running(run)
    pid = host.agent()
    kill_coordinator(owner)
    live.sshd([1], "restart")
    until(lambda: not host.told("loginctl", "list-sessions", "--no-legend"), "every session has ended")
    assert host.agent() == pid and host.is_unit()
    host.let_go("ssh")
    ended = owner.ended(run)
    assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
    assert owner.run("runs", "logs", run).ok().out == "before\nafter\n"
    assert host.agent() == pid


def test_killed_it_is_back_at_once_without_a_word_from_us(owner: Owner, host: LiveHost) -> None:
    pid = host.agent()
    assert pid is not None
    os.kill(coordinator := int(owner.ask("fleet", "status")["coordinator"]["pid"]), signal.SIGSTOP)
    try:
        host.kill_agent()
        until(lambda: host.agent() not in (None, pid) and host.is_unit(), "systemd starts it again", 15)
    finally:
        os.kill(coordinator, signal.SIGCONT)


def test_after_a_boot_it_is_there_before_anybody_logs_in(owner: Owner, live: Lab, host: LiveHost) -> None:
    kill_coordinator(owner)
    live.poweroff([1])
    live.boot([1])
    until(host.is_unit, "the lingering user's manager starts it", 15)
    assert host.told("loginctl", "list-sessions", "--no-legend") == ""
    done = owner.ask("dispatch", *NONE, "echo booted")
    assert done["outcome"] == "done", done


def test_an_upgrade_restarts_the_unit_and_a_running_attempt_goes_on(
    owner: Owner, host: LiveHost, tmp_path_factory: pytest.TempPathFactory
) -> None:
    newer = next_release(folder := tmp_path_factory.mktemp("newer"))
    run = owner.dispatch(*NONE, f"echo before; {held('upgraded')}; echo after")
    owner.running(run)
    old = host.agent()
    assert owner.nodes()["node1"]["version"] == pancode.__version__
    owner.run("fleet", "down", "--now").ok()
    assert host.shows("ActiveState") == "inactive" and host.agent() is None
    owner.env["PYTHONPATH"] = str(folder)
    changed = owner.ask("fleet", "up", "node1", timeout_s=120)["results"][0]["changed"]
    assert {"bundle", "start"} <= set(changed), changed
    assert owner.nodes()["node1"]["version"] == newer
    assert host.is_unit() and host.agent() != old
    host.let_go("upgraded")
    ended = owner.ended(run)
    assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
    assert owner.run("runs", "logs", run).ok().out == "before\nafter\n"


def test_removal_takes_out_the_unit_and_what_runs(
    owner: Owner, live: Lab, host: LiveHost, before: str
) -> None:
    run = owner.dispatch(*NONE, "setsid -f env -i sleep 611 </dev/null >/dev/null 2>&1; sleep 610")
    owner.running(run)
    until(lambda: host.running("sleep", "611"), "it forked away")
    unit = host.unit
    said = owner.run("node", "rm", "node1", "--yes", timeout_s=180).ok()
    assert "nothing of ours is left" in said.out
    assert host.told("systemctl", "--user", "list-units", "--all", "--no-legend", "pancode*") == ""
    assert host.told("systemctl", "--user", "list-unit-files", "--no-legend", unit) == ""
    assert live.run(1, LEFT).stdout == before
    assert not host.running("sleep", "61")
