"""What a fleet stands on, made by the real ansible-playbook on a host whose PID 1 is systemd.

The tests share one host and go through its life in order: a Redis, a fleet that uses it, a node on the same
host with all that a machine of an owner lacks. Its coordinator's life is in `test_ansible_coordinator.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clis.install import PACKAGES, Package, ensure
from tests.e2e.bare_host import bare_host, inside
from tests.e2e.fleets import add, own_fleet
from tests.e2e.owner import Owner, until
from tests.e2e.plays import Plays
from tests.e2e.registry import serving
from tests.lab import Lab

pytestmark = pytest.mark.slow

PORT = 6380
AGENT = "gemini"
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
ROOT_LOGIN = "PermitRootLogin prohibit-password"


@pytest.fixture(scope="module")
def machine() -> Iterator[Lab]:
    with bare_host("a", "bubblewrap") as lab:
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
    again = plays.again("coordinator", "--diff").fine()
    assert again.changed == 0, again.text
    assert plays.again("coordinator", "--check").fine().changed == 0
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
    assert inside(machine, "ls -d /usr/bin/bwrap /home/ops/.local/bin/gemini") == ""
    add(owner, machine, 1, "--fleet-key")
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
    assert plays.again("site").fine().changed == 0
    machine.run(1, "mkdir -p -m 700 /root/.ssh; cp /home/ops/.ssh/authorized_keys /root/.ssh")
    machine.sshd([1], "restart", [*FORBIDS, ROOT_LOGIN, "AllowUsers ops root"])
    plays.write({"node1": {**plays.hosts["node1"], "ansible_user": "root", "node_user": "ops"}})
    by_root = plays.again("site").fine()
    assert by_root.changed == 0, by_root.text
    plays.write(plays.hosts)


def test_a_coordinator_uses_it_by_tls(served: None, plays: Plays, machine: Lab, owner: Owner) -> None:
    """Its password is changed by the play; the nodes' users, which the server wrote itself, stay."""
    said = owner.run("doctor").out
    assert "over TLS" in said, said
    plays.again("site").fine()
    words = ("--runtime", "shell", "--workspace", "none", "--node", "node1")
    assert owner.ended(owner.dispatch(*words, "true"))["outcome"] == "done"
    users = "grep -c ^user.node- /var/lib/redis/pancode/users.acl"
    assert inside(machine, users) == "1"
    assert plays.again("coordinator").fine().changed == 0, "what the server wrote is not a change"
    (owner.home / "redis.password").write_text("another one, by hand\n")
    assert plays.again("coordinator").fine().recap["node1"].changed > 0
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
    assert plays.again("coordinator").fine().changed > 0
    assert (owner.home / "redis.pem").read_bytes() != before, "and it has come to where Ansible runs"
    assert plays.again("coordinator").fine().changed == 0
