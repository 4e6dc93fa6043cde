"""Under a live systemd the node agent is a user unit: it outlives SSH, boots, is upgraded and taken out.

The tests share one fleet and go through its life in order.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
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

ROOT = Path(pancode.__file__ or "").parents[1]
NONE = ("--runtime", "shell", "--workspace", "none", "--node", "node1")
ESCAPE = "cd /; setsid -f env -i sleep {} </dev/null >/dev/null 2>&1"
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

    def scopes(self) -> list[str]:
        """The scopes of attempts."""
        words = ("list-units", "--all", "--plain", "--no-legend", f"pancode-{self.fleet}:*.scope")
        return self.told("systemctl", "--user", *words).splitlines()

    def is_unit(self) -> bool:
        pid = self.agent()
        return pid is not None and self.group(pid) == self.unit and self.shows("ActiveState") == "active"


@pytest.fixture(scope="module")
def live() -> Iterator[Lab]:
    """One host whose PID 1 is systemd."""
    if lacks := "; ".join(missing()) or systemd.why_not():
        pytest.skip(lacks)
    reap()
    spec = Spec(home_mb=1024, systemd=True, share=(str(ROOT), sys.base_prefix))
    with Lab(own_name("s"), owned=True).up(1, spec, replace=True) as lab:
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


def test_one_that_hangs_is_ended_and_started_again(owner: Owner, host: LiveHost) -> None:
    """As in the unit, but for how long it is waited for."""
    assert host.shows("Type") == "notify" and host.shows("WatchdogUSec") == "5min"
    folder = f"/home/ops/.config/systemd/user/{host.unit}.d"
    patience = "[Service]\\nWatchdogSec=8\\nTimeoutAbortSec=1\\n"
    host.told("sh", "-c", f"mkdir {folder}; printf '{patience}' > {folder}/soon.conf")
    try:
        host.told("systemctl", "--user", "daemon-reload")
        host.told("systemctl", "--user", "restart", host.unit)
        pid = host.agent()
        assert pid is not None
        run = owner.dispatch(*NONE, f"echo before; {held('hung')}; echo after")
        owner.running(run)
        os.kill(coordinator := int(owner.ask("fleet", "status")["coordinator"]["pid"]), signal.SIGSTOP)
        try:
            os.kill(pid, signal.SIGSTOP)
            until(lambda: host.agent() not in (None, pid) and host.is_unit(), "systemd starts it again", 60)
        finally:
            os.kill(coordinator, signal.SIGCONT)
        assert host.shows("NRestarts") == "1"
    finally:
        host.told("rm", "-r", folder)
        host.told("systemctl", "--user", "daemon-reload")
        host.told("systemctl", "--user", "restart", host.unit)
    host.let_go("hung")
    ended = owner.ended(run)
    assert (ended["outcome"], ended["attempt"]) == ("done", 1), ended


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


def test_each_attempt_has_a_scope_of_its_own(owner: Owner, host: LiveHost) -> None:
    runs = [owner.dispatch(*NONE, f"setsid sleep 62{n} & {held(f'scope{n}')}") for n in (0, 1)]
    for run in runs:
        owner.running(run)
    until(lambda: host.running("sleep", "620") and host.running("sleep", "621"), "both forked")
    names = [{host.group(pid) for pid in host.running("sleep", f"62{n}")} for n in (0, 1)]
    assert [len(one) for one in names] == [1, 1] and names[0] != names[1], names
    assert all(host.fleet in name and name.endswith(".scope") for one in names for name in one), names
    host.told("systemctl", "--user", "stop", host.unit)
    assert host.shows("ActiveState") == "inactive" and host.running("sleep", "620")
    host.told("systemctl", "--user", "start", host.unit)
    host.let_go("scope0")
    assert owner.ended(runs[0])["outcome"] == "done"
    assert not host.running("sleep", "620"), "nothing of a step outlives it"
    host.let_go("scope1")
    assert owner.ended(runs[1])["outcome"] == "done"
    until(lambda: host.scopes() == [], "the scopes went with what was in them")


def test_what_a_dead_shim_left_is_found_by_its_scope_alone(owner: Owner, host: LiveHost) -> None:
    """No marker, no parent of ours: another session, an emptied environment, the shim killed."""
    once = "if [ -e /tmp/again ]; then rm -f /tmp/again; exit 0; fi; touch /tmp/again"
    run = owner.dispatch(*NONE, f"{once}; {ESCAPE.format(630)}; sleep 300")
    owner.running(run)
    until(lambda: host.running("sleep", "630"), "it forked away")
    host.kill_shim(run)
    ended = owner.ended(run)
    assert (ended["outcome"], ended["attempt"]) == ("done", 2), ended
    assert not host.running("sleep", "630") and host.scopes() == []


def test_an_attempt_that_ends_with_its_manager_is_ours_and_tried_again(
    owner: Owner, live: Lab, host: LiveHost
) -> None:
    """At a shutdown, or a logout without linger: nobody asked for a stop, and the agent did not fail."""
    once = "if [ -e /tmp/after ]; then rm -f /tmp/after; exit 0; fi; touch /tmp/after"
    run = owner.dispatch(*NONE, f"{once}; trap 'exit 5' TERM; sleep 300 & wait")
    owner.running(run)
    until(lambda: host.running("sleep", "300") and host.scopes(), "it runs in its scope")
    live.run(1, f"systemctl restart user@{live.hosts[1]['uid']}.service")
    ended = owner.ended(run)
    assert (ended["outcome"], ended["attempt"]) == ("done", 2), ended
    first = next(a for a in ended["attempts"] if a["attempt"] == 1)
    assert first["outcome"] == "infra", first
    assert not host.running("sleep", "300")


def test_without_linger_it_ends_with_the_last_login_and_comes_with_the_next(
    owner: Owner, live: Lab, host: LiveHost
) -> None:
    live.run(1, "loginctl disable-linger ops")
    try:
        told = owner.ask("fleet", "up", "node1")["results"][0]["problems"]
        assert any("stop when the user's last login" in problem["what"] for problem in told), told
        kill_coordinator(owner)
        until(lambda: host.agent() is None, "the user's manager has ended with the last session", 60)
        assert owner.ask("dispatch", *NONE, "true")["outcome"] == "done"
        assert host.is_unit()
    finally:
        live.run(1, "loginctl enable-linger ops")


def test_without_an_answer_from_systemd_the_run_goes_on_and_the_node_says_so(
    owner: Owner, live: Lab, host: LiveHost
) -> None:

    def problems() -> list[dict[str, str]]:
        found: list[dict[str, str]] = owner.ask("node", "show", "node1")["problems"]
        return found

    live.run(1, "mount --bind /bin/false /usr/bin/systemd-run")
    try:
        run = owner.dispatch(*NONE, "cat /proc/self/cgroup")
        assert owner.ended(run)["outcome"] == "done"
        assert host.unit in owner.run("runs", "logs", run).ok().out
        until(lambda: "could not make a scope" in str(problems()), "it is told")
    finally:
        live.run(1, "umount /usr/bin/systemd-run")
    host.told("systemctl", "--user", "restart", host.unit)
    until(lambda: "could not make a scope" not in str(problems()), "it is well again", 60, problems)
    run = owner.dispatch(*NONE, "cat /proc/self/cgroup")
    assert owner.ended(run)["outcome"] == "done"
    assert ".scope" in owner.run("runs", "logs", run).ok().out


def test_removal_takes_out_the_unit_and_what_runs(
    owner: Owner, live: Lab, host: LiveHost, before: str
) -> None:
    run = owner.dispatch(*NONE, f"{ESCAPE.format(611)}; sleep 610")
    owner.running(run)
    until(lambda: host.running("sleep", "611"), "it forked away")
    host.told("systemctl", "--user", "stop", host.unit)  # so that nobody else sweeps after the shim
    host.kill_shim(run)
    unit = host.unit
    said = owner.run("node", "rm", "node1", "--yes", timeout_s=180).ok()
    assert "nothing of PanCode is left" in said.out
    assert host.told("systemctl", "--user", "list-units", "--all", "--no-legend", "pancode*") == ""
    assert host.told("systemctl", "--user", "list-unit-files", "--no-legend", unit) == ""
    until(lambda: live.run(1, LEFT).stdout == before, "all is gone", 15, lambda: live.run(1, LEFT).stdout)
    assert not host.running("sleep", "61")
