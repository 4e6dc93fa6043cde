"""Under a live systemd the coordinator is a service of the system: closed in, ready, watched, and taken out.

Its command line runs in the host itself, as root and as the user whose coordinator it is.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pancode
from tests.e2e.owner import until
from tests.lab import Lab, missing, own_name, reap, systemd
from tests.lab.lab import Spec

pytestmark = pytest.mark.slow

ROOT = Path(pancode.__file__ or "").parents[1]
PATH = f"PATH={Path(sys.executable).parent}:/usr/bin:/bin"


class Host:
    """A host with a live systemd, where its user `ops` has a fleet."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        uid = lab.hosts[1]["uid"]
        self._become = (
            f"setpriv --reuid {uid} --regid {uid} --clear-groups env XDG_RUNTIME_DIR=/run/user/{uid}"
        )

    def root(self, *words: str) -> str:
        """What a command of root says; it has to end well."""
        return self._said(f"env {PATH} {shlex.join(words)}")

    def ops(self, *words: str) -> str:
        """What a command of that user says."""
        return self._said(f"{self._become} HOME=/home/ops USER=ops {PATH} {shlex.join(words)}")

    def shows(self, name: str, unit: str) -> str:
        return self.root("systemctl", "show", "-P", name, unit)

    def _said(self, line: str) -> str:
        done = self._lab.run(1, line)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def coordinator() -> Iterator[Host]:
    if lacks := "; ".join(missing()) or systemd.why_not():
        pytest.skip(lacks)
    reap()
    spec = Spec(home_mb=1024, systemd=True, share=(str(ROOT), sys.base_prefix, sys.prefix))
    with Lab(own_name("v"), owned=True).up(1, spec, replace=True) as lab:
        coordinator = Host(lab)
        until(lambda: "running" in lab.run(1, "systemctl is-system-running --wait").stdout, "a manager", 60)
        coordinator.ops("pancode", "serve", "--background")
        coordinator.ops("pancode", "fleet", "down")
        yield coordinator


@pytest.fixture(scope="module")
def unit(coordinator: Host) -> str:
    """Installed, and started as at a boot: `systemctl start` comes back when it is ready."""
    said = coordinator.root("pancode", "admin", "service", "install", "--system", "--user", "ops")
    name = said.split("service ")[1].splitlines()[0]
    coordinator.root("systemctl", "start", name)
    return name


def test_it_answers_as_soon_as_it_is_started_and_says_what_it_is(coordinator: Host, unit: str) -> None:
    said = coordinator.ops("pancode", "fleet", "status")
    assert f"pid {coordinator.shows('MainPID', unit)} " in said
    assert f"restarted at boot; runs as the system's service {unit}" in said
    kept = coordinator.root("cat", f"/proc/{coordinator.shows('MainPID', unit)}/status")
    assert "CapBnd:\t0000000000000000" in kept and "NoNewPrivs:\t1" in kept and "Seccomp:\t2" in kept
    assert (
        coordinator.root("pancode", "admin", "service", "install", "--system", "--user", "ops").count(unit)
        == 2
    )


def test_a_fleet_comes_up_from_it_and_its_node_agent_is_not_closed_in(coordinator: Host, unit: str) -> None:
    assert "online" in coordinator.ops("pancode", "fleet", "up")
    told = ("cat", "/proc/self/cgroup", "/proc/self/status")
    said = coordinator.ops("pancode", "dispatch", "--runtime", "shell", "--workspace", "none", "--", *told)
    assert "done" in said and "user.slice" in said and unit not in said, said
    assert "CapBnd:\t0000000000000000" not in said
    assert not coordinator.root("find", "/home/ops/.config/systemd/user", "-name", unit), (
        "one service is enough"
    )


@pytest.mark.parametrize("how", ["restarted", "fallen"])
def test_who_asks_while_it_starts_is_answered_by_it(coordinator: Host, unit: str, how: str) -> None:
    """30 s at times: a service that has fallen is started again after 15 s."""
    before = coordinator.shows("MainPID", unit)
    if how == "restarted":
        coordinator.root("systemctl", "restart", "--no-block", unit)
    else:
        coordinator.root("kill", "-KILL", before)
    until(lambda: coordinator.shows("MainPID", unit) != before, "it has ended", 30)
    said = coordinator.ops("pancode", "fleet", "status")
    pid = coordinator.shows("MainPID", unit)
    assert (
        pid not in ("0", before) and f"pid {pid} " in said and f"runs as the system's service {unit}" in said
    )


def test_one_that_hangs_is_ended_and_started_again(coordinator: Host, unit: str) -> None:
    folder = f"/etc/systemd/system/{unit}.d"
    patience = "[Service]\nWatchdogSec=8\nTimeoutAbortSec=1\nRestartSec=1\n"
    coordinator.root("sh", "-c", f"mkdir {folder}; printf %s {shlex.quote(patience)} > {folder}/soon.conf")
    try:
        coordinator.root("systemctl", "daemon-reload")
        coordinator.root("systemctl", "restart", unit)
        pid = coordinator.shows("MainPID", unit)
        coordinator.root("kill", "-STOP", pid)
        until(
            lambda: (
                coordinator.shows("MainPID", unit) not in ("0", pid)
                and coordinator.shows("ActiveState", unit) == "active"
            ),
            "systemd starts it again",
            60,
        )
        assert coordinator.shows("NRestarts", unit) == "1"
    finally:
        coordinator.root("rm", "-r", folder)
        coordinator.root("systemctl", "daemon-reload")
        coordinator.root("systemctl", "restart", unit)
    assert "online" in coordinator.ops("pancode", "fleet", "up")


def test_it_is_taken_out_and_what_runs_goes_on(coordinator: Host, unit: str) -> None:
    pid = coordinator.shows("MainPID", unit)
    coordinator.root("pancode", "admin", "service", "remove", "--system", "--user", "ops")
    assert not coordinator.root("find", "/etc/systemd/system", "-name", f"{unit}*")
    assert f"pid {pid} " in coordinator.ops("pancode", "fleet", "status")
    coordinator.ops("pancode", "node", "rm", "node1", "--yes")
    coordinator.ops("pancode", "fleet", "down", "--now")
