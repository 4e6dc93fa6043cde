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


class Desk:
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
def desk() -> Iterator[Desk]:
    if lacks := "; ".join(missing()) or systemd.why_not():
        pytest.skip(lacks)
    reap()
    spec = Spec(home_mb=1024, systemd=True, share=(str(ROOT), sys.base_prefix, sys.prefix))
    with Lab(own_name("v"), owned=True).up(1, spec, replace=True) as lab:
        desk = Desk(lab)
        until(lambda: "running" in lab.run(1, "systemctl is-system-running --wait").stdout, "a manager", 60)
        desk.ops("pancode", "serve", "--background")
        desk.ops("pancode", "fleet", "down")
        yield desk


@pytest.fixture(scope="module")
def unit(desk: Desk) -> str:
    """Installed, and started as at a boot: `systemctl start` comes back when it is ready."""
    said = desk.root("pancode", "service", "install", "--system", "--user", "ops")
    name = said.split("service ")[1].splitlines()[0]
    desk.root("systemctl", "start", name)
    return name


def test_it_answers_as_soon_as_it_is_started_and_says_what_it_is(desk: Desk, unit: str) -> None:
    said = desk.ops("pancode", "fleet", "status")
    assert f"pid {desk.shows('MainPID', unit)} " in said
    assert f"restarted at boot; runs as the system's service {unit}" in said
    kept = desk.root("cat", f"/proc/{desk.shows('MainPID', unit)}/status")
    assert "CapBnd:\t0000000000000000" in kept and "NoNewPrivs:\t1" in kept and "Seccomp:\t2" in kept
    assert desk.root("pancode", "service", "install", "--system", "--user", "ops").count(unit) == 2


def test_a_fleet_comes_up_from_it_and_its_node_agent_is_not_closed_in(desk: Desk, unit: str) -> None:
    assert "online" in desk.ops("pancode", "fleet", "up")
    told = ("cat", "/proc/self/cgroup", "/proc/self/status")
    said = desk.ops("pancode", "dispatch", "--runtime", "shell", "--workspace", "none", "--", *told)
    assert "done" in said and "user.slice" in said and unit not in said, said
    assert "CapBnd:\t0000000000000000" not in said
    assert not desk.root("find", "/home/ops/.config/systemd/user", "-name", unit), "one service is enough"


@pytest.mark.parametrize("how", ["restarted", "fallen"])
def test_who_asks_while_it_starts_is_answered_by_it(desk: Desk, unit: str, how: str) -> None:
    """30 s at times: a service that has fallen is started again after 15 s."""
    before = desk.shows("MainPID", unit)
    if how == "restarted":
        desk.root("systemctl", "restart", "--no-block", unit)
    else:
        desk.root("kill", "-KILL", before)
    until(lambda: desk.shows("MainPID", unit) != before, "it has ended", 30)
    said = desk.ops("pancode", "fleet", "status")
    pid = desk.shows("MainPID", unit)
    assert (
        pid not in ("0", before) and f"pid {pid} " in said and f"runs as the system's service {unit}" in said
    )


def test_one_that_hangs_is_ended_and_started_again(desk: Desk, unit: str) -> None:
    folder = f"/etc/systemd/system/{unit}.d"
    patience = "[Service]\nWatchdogSec=8\nTimeoutAbortSec=1\nRestartSec=1\n"
    desk.root("sh", "-c", f"mkdir {folder}; printf %s {shlex.quote(patience)} > {folder}/soon.conf")
    try:
        desk.root("systemctl", "daemon-reload")
        desk.root("systemctl", "restart", unit)
        pid = desk.shows("MainPID", unit)
        desk.root("kill", "-STOP", pid)
        until(
            lambda: (
                desk.shows("MainPID", unit) not in ("0", pid) and desk.shows("ActiveState", unit) == "active"
            ),
            "systemd starts it again",
            60,
        )
        assert desk.shows("NRestarts", unit) == "1"
    finally:
        desk.root("rm", "-r", folder)
        desk.root("systemctl", "daemon-reload")
        desk.root("systemctl", "restart", unit)
    assert "online" in desk.ops("pancode", "fleet", "up")


def test_it_is_taken_out_and_what_runs_goes_on(desk: Desk, unit: str) -> None:
    pid = desk.shows("MainPID", unit)
    desk.root("pancode", "service", "remove", "--system", "--user", "ops")
    assert not desk.root("find", "/etc/systemd/system", "-name", f"{unit}*")
    assert f"pid {pid} " in desk.ops("pancode", "fleet", "status")
    desk.ops("pancode", "node", "rm", "node1", "--yes")
    desk.ops("pancode", "fleet", "down", "--now")
