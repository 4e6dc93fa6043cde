"""What a fleet stands on, made by the real ansible-playbook on a host whose PID 1 is systemd.

The tests share one host and go through its life in order: a Redis, a fleet that uses it, a node on the same
host with all that a machine of an owner lacks, and a coordinator.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clis.install import PACKAGES, ROOT, Package, ensure
from tests.e2e.debian import SHARED, installable
from tests.e2e.fleets import own_fleet
from tests.e2e.owner import Owner, until
from tests.e2e.plays import Plays
from tests.e2e.registry import serving
from tests.integration.packaging.wheelhouse import wheelhouse
from tests.lab import Lab, missing, own_name, reap, systemd
from tests.lab.lab import Spec

pytestmark = pytest.mark.slow

PORT = 6380
PYTHON = () if sys.base_prefix == "/usr" else (sys.base_prefix,)
"""The host's own may be older, and want libraries that are not in the lock of this one."""
AGENT = "qwen"
_PINNED = PACKAGES[AGENT]
assert isinstance(_PINNED, Package)
NPM, VERSION = _PINNED.npm, _PINNED.version
LACKS = {
    "node_packages": ["git", "bubblewrap"],
    "node_npm": [f"{NPM}@{VERSION}"],
    "node_ceiling": {"runtimes": ["shell", AGENT]},
    "node_stream_local_forwarding": True,
}
"""What the owner of the machine wants on it, beside the node itself."""
FORBIDS = ["Include /etc/ssh/sshd_config.d/*.conf", "AllowStreamLocalForwarding no"]
ROOM = """
mkdir /mnt/h; mount -t tmpfs -o size=1g,mode=755 tmpfs /mnt/h; cd /home
for d in *; do mkdir "/mnt/h/$d"; mount --rbind "$d" "/mnt/h/$d"; done; mount --rbind /mnt/h /home"""
"""Homes of new logins have room; what is there already, or shared by way of /home, stays."""
SSH_SERVICE = """
printf '[Service]\nExecReload=/bin/sh -c "kill -HUP $(cat /run/sshd.pid)"\n' > /tmp/reload
cd /etc/systemd/system; mkdir lab-sshd.service.d; mv /tmp/reload lab-sshd.service.d/reload.conf
ln -s lab-sshd.service ssh.service; systemctl daemon-reload"""
"""The lab's listener by the name of Debian's."""
ROOT_LOGIN = "PermitRootLogin prohibit-password"
SUDO = r"""
mkdir -p /etc/pam.d
for s in auth account session; do echo "$s required pam_permit.so"; done > /etc/pam.d/sudo
printf 'root ALL=(ALL) ALL\nops ALL=(ALL) NOPASSWD: ALL\n' > /etc/sudoers; chmod 440 /etc/sudoers
echo 'root:*:19000:0:99999:7:::' > /etc/shadow; chmod 600 /etc/shadow  # without it root is locked"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Lab]:
    """One host with a live systemd, sudo, and packages to install."""
    if lacks := "; ".join(missing()) or systemd.why_not():
        pytest.skip(lacks)
    reap()
    spec = Spec(home_mb=1536, systemd=True, share=(SHARED, str(wheelhouse()), *PYTHON))
    with Lab(own_name("a"), owned=True).up(1, spec, replace=True) as lab:
        assert lab.run(1, f"set -e; {SUDO}\n{ROOM}").returncode == 0
        installable(lab, 1, "redis-server", "redis-tools", "bubblewrap")
        assert lab.run(1, SSH_SERVICE).returncode == 0
        lab.run(1, "userdel redis; groupdel redis; rm -rf /var/lib/redis /etc/redis")
        yield lab


@pytest.fixture(scope="module")
def redis_url(machine: Lab) -> str:
    return f"rediss://pancode@{machine.hosts[1]['addr']}:{PORT}"


@pytest.fixture(scope="module")
def owner(machine: Lab, redis_url: str) -> Iterator[Owner]:
    """Whose coordinator, on this machine, is to use that Redis."""
    with own_fleet(machine, []) as owner:
        beside = {"PASSWORD_FILE": "redis.password", "CA_FILE": "redis.pem"}
        owner.env["PANCODE_REDIS_URL"] = redis_url
        owner.env |= {f"PANCODE_REDIS_{name}": str(owner.home / file) for name, file in beside.items()}
        shutil.copy(f"{machine.dir}/known_hosts", owner.home / ".ssh/known_hosts")
        yield owner


@pytest.fixture(scope="module")
def registry(machine: Lab, owner: Owner) -> Iterator[None]:
    """A registry of npm's with one agent program in it, which the host's login asks."""
    folder = ensure(AGENT).parent / NPM
    place = owner.home / "registry"
    with serving(place, machine.state["coordinator"], folder) as url:
        home = machine.path(1, "disk/home")
        Path(home, ".npmrc").write_text(f"registry={url}\n")
        yield


@pytest.fixture(scope="module")
def plays(owner: Owner, machine: Lab, registry: None) -> Plays:
    plays = Plays(owner, machine, (1,))
    files = {"redis_password_file": "redis.password", "redis_ca_file": "redis.pem"}
    addr = machine.hosts[1]["addr"]
    redis = {"ansible_host": addr} | {name: str(owner.home / file) for name, file in files.items()}
    plays.groups = {"pancode_redis": {"node1": redis}}
    plays.hosts["node1"] |= LACKS
    plays.write(plays.hosts)
    return plays


@pytest.fixture
def served(plays: Plays, machine: Lab) -> None:
    """Also where a test is run by itself."""
    if machine.run(1, "systemctl is-active redis-server@pancode").stdout.strip() != "active":
        plays.play("coordinator").fine()


def inside(lab: Lab, script: str) -> str:
    return lab.run(1, script).stdout.strip()


def trouble(owner: Owner) -> object:
    return owner.ask("fleet", "status")["coordinator"]["trouble"]


def test_a_check_of_a_bare_machine_changes_nothing(plays: Plays, machine: Lab, owner: Owner) -> None:
    checked = plays.play("coordinator", "--check", "--diff").fine()
    assert checked.recap["node1"].changed > 2, checked.text
    assert not (owner.home / "redis.password").exists()
    assert inside(machine, "ls -d /etc/redis /var/lib/redis /usr/bin/redis-server") == ""


def test_redis_is_installed_and_a_second_time_nothing_changes(
    plays: Plays, machine: Lab, owner: Owner
) -> None:
    plays.play("coordinator").fine()
    assert inside(machine, "systemctl is-enabled redis-server@pancode") == "enabled"
    again = plays.play("coordinator", "--diff").fine()
    assert again.changed == 0, again.text
    assert plays.play("coordinator", "--check").fine().changed == 0
    password = (owner.home / "redis.password").read_text().strip()
    assert len(password) == 48 and password not in again.text
    assert inside(machine, f"grep -rl {password} /etc /var/lib/redis /var/log") == "", (
        "only its digest is there"
    )
    assert inside(machine, "stat -c '%a %U:%G' /etc/redis/pancode-pancode.key") == "640 root:redis"
    assert inside(machine, "ss -Htln 'sport = :6380' | wc -l") == "1"


def test_a_node_gets_what_it_lacks_as_sudo_and_as_root(
    served: None, plays: Plays, machine: Lab, owner: Owner
) -> None:
    """30 s and more: a package, an agent program and the SSH server's drop-in, then a fresh host's bundle."""
    machine.sshd([1], "restart", FORBIDS)
    assert inside(machine, "ls -d /usr/bin/bwrap /home/ops/.local/bin/qwen") == ""
    plays.play("site").fine()
    assert "ok installed" in inside(machine, "dpkg -s bubblewrap")
    assert inside(machine, "sshd -T | grep allowstreamlocal") == "allowstreamlocalforwarding yes"
    assert inside(machine, f"sudo -u ops -H sh -c '~/.local/bin/{AGENT} --version'") == VERSION
    assert inside(machine, "stat -c '%U %a' /home/ops/.pancode-node/*/ceiling.json") == "ops 600"
    assert inside(machine, "cat /proc/1/comm; systemctl show -P ActiveState user@21001").split() == [
        "systemd",
        "active",
    ]
    shown = owner.ask("node", "show", "node1")["facts"]
    assert {one["name"] for one in shown["runtimes"] if one["version"] == VERSION} == {AGENT}
    refused = owner.run("dispatch", "--runtime", "native", "--workspace", "none", "--node", "node1", "x")
    assert refused.code == 5, refused.err
    assert plays.play("site").fine().changed == 0
    machine.run(1, "mkdir -p -m 700 /root/.ssh; cp /home/ops/.ssh/authorized_keys /root/.ssh")
    machine.sshd([1], "restart", [*FORBIDS, ROOT_LOGIN, "AllowUsers ops root"])
    plays.write({"node1": {**plays.hosts["node1"], "ansible_user": "root", "node_user": "ops"}})
    by_root = plays.play("site").fine()
    assert by_root.changed == 0, by_root.text
    plays.write(plays.hosts)


def test_a_coordinator_uses_it_by_tls(served: None, plays: Plays, machine: Lab, owner: Owner) -> None:
    """Its password is changed by the play; the nodes' users, which the server wrote itself, stay."""
    said = owner.run("doctor").out
    assert "over TLS" in said, said
    plays.play("site").fine()
    words = ("--runtime", "shell", "--workspace", "none", "--node", "node1")
    assert owner.ended(owner.dispatch(*words, "true"))["outcome"] == "done"
    users = "grep -c ^user.node- /var/lib/redis/pancode/users.acl"
    assert inside(machine, users) == "1"
    assert plays.play("coordinator").fine().changed == 0, "what the server wrote is no change"
    (owner.home / "redis.password").write_text("another one, by hand\n")
    assert plays.play("coordinator").fine().recap["node1"].changed > 0
    assert inside(machine, users) == "1"
    until(lambda: trouble(owner) is None, "the file is right", 60, lambda: trouble(owner))
    assert owner.ended(owner.dispatch(*words, "true"))["outcome"] == "done"
    owner.run("fleet", "down").ok()


def test_a_certificate_of_other_names_is_made_anew(
    served: None, plays: Plays, machine: Lab, owner: Owner
) -> None:
    redis = plays.groups["pancode_redis"]["node1"]
    before, names = (owner.home / "redis.pem").read_bytes(), [redis["ansible_host"], "redis.example"]
    plays.groups["pancode_redis"]["node1"] = {**redis, "redis_tls_names": names}
    plays.write(plays.hosts)
    assert plays.play("coordinator").fine().changed > 0
    assert (owner.home / "redis.pem").read_bytes() != before, "and it has come to where Ansible runs"
    assert plays.play("coordinator").fine().changed == 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What .ci/dist makes of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run([ROOT / ".ci/dist", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture
def desk(plays: Plays, owner: Owner, redis_url: str, wheel: Path) -> None:
    """The host is to have a coordinator of its own, from a wheel, on the Redis beside it."""
    given = {"redis.password": owner.home / "redis.password", "ca.pem": owner.home / "redis.pem"}
    folder = "/home/desk/.pancode/given"
    redis = {"url": redis_url, "ca_file": f"{folder}/ca.pem", "password_file": f"{folder}/redis.password"}
    plays.groups["pancode_coordinator"] = {
        "node1": {
            "ansible_host": plays.hosts["node1"]["ansible_host"],
            "coordinator_user": "desk",
            "coordinator_packages": ["git", "openssh-client"],
            "coordinator_python": f"{sys.base_prefix}/bin/python3",
            "coordinator_wheel": str(wheel),
            "coordinator_pip_args": ["--no-index", "--find-links", str(wheelhouse())],
            "coordinator_settings": {"redis": redis},
            "coordinator_given": {name: path.read_text() for name, path in given.items()},
        }
    }
    plays.write(plays.hosts)


def as_desk(lab: Lab, words: str) -> str:
    return inside(lab, f"sudo -u desk -H sh -c 'cd; .local/share/pancode/bin/pancode {words}'")


def test_a_coordinator_is_a_service_with_its_settings(
    served: None, desk: None, plays: Plays, machine: Lab
) -> None:
    """30 s and more: an environment is made, and PanCode is installed in it."""
    checked = plays.play("coordinator", "--check", "--diff").fine()
    assert checked.recap["node1"].changed > 0 and inside(machine, "ls -d /home/desk") == ""
    made = plays.play("coordinator").fine()
    password = Path(plays.groups["pancode_redis"]["node1"]["redis_password_file"]).read_text().strip()
    assert password not in checked.text + made.text
    unit = inside(machine, "cd /etc/systemd/system; echo pancode-*.service")
    asked = f"systemctl show -P ActiveState -P UnitFileState -P User -P NRestarts {unit}"
    assert set(inside(machine, asked).split()) == {"active", "enabled", "desk", "0"}
    assert "over TLS" in as_desk(machine, "doctor")
    told = json.loads(as_desk(machine, "fleet status --json"))["coordinator"]
    assert told["trouble"] is None and str(told["pid"]) == inside(
        machine, f"systemctl show -P MainPID {unit}"
    )
    again = plays.play("coordinator", "--diff").fine()
    assert again.changed == 0, again.text
    assert plays.play("coordinator", "--check").fine().changed == 0


def test_settings_that_change_count_at_once(desk: None, plays: Plays, machine: Lab) -> None:
    plays.groups["pancode_coordinator"]["node1"]["coordinator_settings"]["budget"] = {"ceiling": 7}
    plays.write(plays.hosts)
    before = as_desk(machine, "fleet status --json")
    assert plays.play("coordinator").fine().recap["node1"].changed > 0
    assert (
        json.loads(before)["coordinator"]["pid"]
        != json.loads(as_desk(machine, "fleet status --json"))["coordinator"]["pid"]
    )
    assert "7" in as_desk(machine, "budget show")
