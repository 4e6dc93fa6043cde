"""Every verb of the lab of real SSH hosts does what it says, and `down` leaves nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

from tests.crowd import crowded
from tests.lab import Fail, Lab, missing, own_name, reap, systemd
from tests.lab.lab import Spec

ON_CI = os.environ.get("CI") == "true"
LACKS = missing()
LACKS_SYSTEMD = systemd.why_not()
pytestmark = [
    pytest.mark.slow,
    # In CI nothing is skipped: there a machine that cannot hold the hosts is a failure.
    pytest.mark.skipif(bool(LACKS) and not ON_CI, reason="this machine lacks: " + "; ".join(LACKS)),
]
FAULTS = (
    ("disk-full", "head -c 1000000 /dev/zero > big", "No space left"),
    ("readonly-home", "touch x", "Read-only file system"),
    ("noexec-home", "cp /bin/true t && ./t", "Permission denied"),
    ("no-python", "python3 -c 1", "not found"),
    ("no-venv", "python3 -m venv v", "ensurepip"),
    ("plain-shell", "[[ 1 ]]", "not found"),
    ("noisy-shell", "echo", "Welcome"),
)
SILENT = ("TimeoutError",)


def connect(addr: str, timeout: float = 3.0) -> str:
    """banner | closed | the error's name or text."""
    try:
        with socket.create_connection((addr, 22), timeout) as s:
            return "banner" if s.recv(8) else "closed"
    except OSError as e:
        return os.strerror(e.errno or 0) if type(e) is OSError else type(e).__name__


def ssh(lab: Lab, k: int, command: str) -> subprocess.CompletedProcess[str]:
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-F", f"{lab.dir}/ssh_config"]
    return subprocess.run(
        [*argv, f"node{k}", command], text=True, capture_output=True, timeout=30 * crowded()
    )


def left(name: str) -> list[str]:
    """Everything on this machine that carries the lab's name."""
    out = []
    for f in ("/proc/self/mountinfo", "/proc/net/dev"):
        with open(f) as lines:
            out += [x for x in lines if f"pancode-lab-{name}/" in x or f" {name}-" in " " + x.strip()]
    for root in (tempfile.gettempdir(), "/run/netns"):
        if os.path.isdir(root):
            out += [d for d in os.listdir(root) if d == f"pancode-lab-{name}" or d.startswith(name + "-")]
    for p in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{p}/cmdline") as words:
            command = words.read()
            if f"/pancode-lab-{name}/" in command or f"{name}-1" in command.split("\0"):
                out.append(command)
    return out


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    name = own_name("i")
    with Lab(name, owned=True).up(3, Spec(home_mb=32), replace=True) as lab:
        yield lab
    assert left(name) == []


def addr(lab: Lab, k: int) -> str:
    return lab.hosts[k]["addr"]


def test_two_labs_side_by_side_and_down_of_one_leaves_the_other(lab: Lab) -> None:
    name = own_name("j")
    with Lab(name, owned=True).up(2, replace=True) as other:
        assert connect(addr(other, 1)) == connect(addr(lab, 1)) == "banner"
    assert connect(addr(lab, 1)) == "banner"
    assert left(name) == []


def test_a_host_has_its_own_name_user_files_and_processes(lab: Lab) -> None:
    assert ssh(lab, 2, "hostname; whoami; pwd").stdout.split() == ["node2", "ops", "/home/ops"]
    here = os.path.dirname(os.path.abspath(__file__))
    assert here not in ssh(lab, 2, f"ls -d {here}").stdout
    assert ssh(lab, 2, "cd /; ls -A root opt srv mnt tmp 2>/dev/null | grep -v ':$' | grep .").stdout == ""
    assert len(ssh(lab, 2, "ls -d /proc/[0-9]*").stdout.split()) < 9
    assert "SSH" in ssh(lab, 1, f"timeout 2 bash -c 'head -c 4 < /dev/tcp/{addr(lab, 2)}/22'").stdout


def test_drop_and_unplug_are_silence_and_no_route_and_heal_undoes_them(lab: Lab) -> None:
    lab.drop([2])
    assert connect(addr(lab, 2)) in SILENT
    assert connect(addr(lab, 3)) == "banner"
    lab.heal([2])
    assert connect(addr(lab, 2)) == "banner"
    lab.drop([2], "unplug")
    assert connect(addr(lab, 2), 5) == os.strerror(errno.EHOSTUNREACH)
    lab.heal([2])
    assert connect(addr(lab, 2)) == "banner"


def test_slow_delays_each_way_and_loss_loses(lab: Lab) -> None:
    lab.slow([2], delay=100)
    t = time.monotonic()
    assert connect(addr(lab, 2), 3) == "banner"
    assert time.monotonic() - t > 0.35  # two round trips of 200 ms; a lower bound is never flaky
    lab.slow([2], loss=100)
    assert connect(addr(lab, 2)) != "banner"
    lab.heal([2])
    assert connect(addr(lab, 2)) == "banner"


def test_a_frozen_host_is_silent_until_thawed(lab: Lab) -> None:
    lab.freeze([3])
    assert connect(addr(lab, 3)) in SILENT
    lab.thaw([3])
    assert connect(addr(lab, 3)) == "banner"


def test_sshd_stops_starts_and_takes_settings(lab: Lab) -> None:
    lab.sshd([3], "stop")
    assert connect(addr(lab, 3)) == "ConnectionRefusedError"
    lab.sshd([3], "start", ["AllowTcpForwarding no"])
    assert connect(addr(lab, 3)) == "banner"
    with pytest.raises(Fail, match="sshd refuses"):
        lab.sshd([3], "restart", ["NoSuchSetting yes"])
    lab.sshd([3], "restart", [])


def test_power_off_and_crash_keep_the_home_and_lose_tmp_and_processes(lab: Lab) -> None:
    ssh(lab, 1, "touch kept; touch /tmp/lost; setsid sleep 1000 >/dev/null 2>&1 &")
    lab.poweroff([1])
    assert connect(addr(lab, 1)) in SILENT
    lab.boot([1])
    assert ssh(lab, 1, "ls; ls /tmp; ps ax | grep -c '[s]leep 1000'").stdout.split() == ["kept", "0"]
    lab.poweroff([1], "crash")
    assert connect(addr(lab, 1)) == "ConnectionRefusedError"
    lab.boot([1])
    assert connect(addr(lab, 1)) == "banner"


def test_rekey_is_seen_as_a_changed_host_key(lab: Lab) -> None:
    lab.rekey([1])
    assert "IDENTIFICATION HAS CHANGED" in ssh(lab, 1, "true").stderr
    lab.rekey([1], trust=True)
    assert ssh(lab, 1, "true").returncode == 0


@pytest.mark.parametrize(("fault", "command", "says"), FAULTS, ids=[f[0] for f in FAULTS])
def test_a_fault_shows_survives_a_boot_and_can_be_undone(
    lab: Lab, fault: str, command: str, says: str
) -> None:
    def said() -> str:
        p = ssh(lab, 1, command)
        return p.stdout + p.stderr

    lab.fault([1], fault)
    assert says in said()
    lab.poweroff([1])
    lab.boot([1])
    assert says in said()
    lab.fault([1], fault, on=False)
    assert says not in said()


def test_down_works_with_slow_frozen_and_powered_off_hosts() -> None:
    name = own_name("k")
    lab = Lab(name, owned=True).up(3, replace=True)
    lab.slow([1], delay=5)
    lab.freeze([2])
    lab.poweroff([3])
    lab.down()
    assert left(name) == []
    lab.down()  # idempotent


def test_down_works_from_the_kernels_state_when_the_files_are_lost() -> None:
    name = own_name("l")
    lab = Lab(name, owned=True).up(1, replace=True)
    os.unlink(f"{lab.dir}/state.json")
    Lab(name).down()
    assert left(name) == []
    for child in lab._children:
        child.wait(10 * crowded())


def groups(name: str) -> list[str]:
    """The lab's control groups, wherever this machine shows its own."""
    script = 'mount -t cgroup2 none /mnt && ls -d "/mnt/pancode-lab-$1-"* 2>/dev/null'
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", name], text=True, capture_output=True
    ).stdout.split()


@pytest.mark.skipif(bool(LACKS_SYSTEMD), reason=LACKS_SYSTEMD)
def test_a_host_with_a_live_systemd_boots_twice_and_leaves_nothing() -> None:
    asked = "tail -1 /proc/self/cgroup; systemctl --user is-system-running --wait; loginctl list-users"
    name = own_name("n")
    with Lab(name, owned=True).up(2, Spec(systemd=True), replace=True) as lab:
        for _ in range(2):
            group, state, _, user = ssh(lab, 1, asked).stdout.split("\n")[:4]
            assert group.startswith("0::/user.slice/user-21001.slice/session-"), group
            assert (state, user.split()[1]) == ("running", "ops")
            lab.poweroff([1])
            lab.boot([1])
        assert ssh(lab, 1, "systemd-run --user --scope --quiet tail -1 /proc/self/cgroup").stdout.count(
            ".scope"
        )
        assert "Read-only" in lab.run(1, "echo 1 > /proc/sys/kernel/printk").stderr, (
            "the kernel is the machine's"
        )
        lab.sshd([1], "restart")
        assert len(groups(name)) == 2
    assert left(name) == groups(name) == []


def test_a_lab_whose_owner_was_killed_is_reaped() -> None:
    script = (
        "import os\nfrom tests.lab import Lab, own_name\nlab = Lab(own_name('m'), owned=True).up(1)\n"
        "print(lab.name, flush=True)\nos.kill(os.getpid(), 9)"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    p = subprocess.run(
        ["python3", "-c", script], cwd=root, text=True, capture_output=True, timeout=60 * crowded()
    )
    name = p.stdout.strip()
    assert name in reap(), p.stderr
    assert left(name) == []
