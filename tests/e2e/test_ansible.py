"""A node made by Ansible is the one that `fleet up` makes: real hosts, the real ansible-playbook.

The tests share one fleet and go through its life in order. node1 is reached as the login itself, node2 as
root, node3 as a user with sudo, who makes a login for the node agent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleets import add, next_release, own_fleet, up
from tests.e2e.ground import Ground, held, kill_coordinator
from tests.e2e.owner import Owner, until
from tests.e2e.plays import BIN, Plays
from tests.lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.bare_hosts]  # what is left on them would be the session fleet's

LISTING = """cd /home/ops/.pancode-node/@ || exit 1
set -f
own='-path ./run/* -o -path ./log/* -o -path ./journal/* -o -path ./cache/* -o -path ./s/*'
own="$own -o -path ./work/* -o -path ./kept"
find . \\( $own -o -path ./bundles/*/* \\) -prune -o -printf '%y %m %u %p %l\\n' | sort
find . \\( $own -o -path ./key/node.key -o -path ./key/redis.password -o -path ./bundles/*/* \\) -prune \\
  -o -type f ! -name node.json -print | sort | xargs sha256sum
sed 's/@TAG/TAG/g' node.json
find bundles -printf '%y %m %u %p %l\\n' | sort | sha256sum
find bundles -type f ! -name '*.pyc' ! -name .ready -print | sort | xargs sha256sum | sha256sum
ls -a /home/ops | grep -vxF .ansible; cat /home/ops/.ssh/authorized_keys; stat -c '%A %U %G' /home/ops/.ssh"""
"""All that bring-up makes: kinds, modes, owners, links, contents, but for what the agent itself writes."""
WORK = ("--runtime", "shell", "--workspace", "none", "--node")
ROOT_LOGIN = "PermitRootLogin prohibit-password"
SUDO = r"""
mkdir -p /etc/pam.d
for s in auth account session; do echo "$s required pam_permit.so"; done > /etc/pam.d/sudo
printf 'root ALL=(ALL) ALL\nops ALL=(ALL) NOPASSWD: ALL\n' > /etc/sudoers; chmod 440 /etc/sudoers
echo 'root:*:19000:0:99999:7:::' > /etc/shadow; chmod 600 /etc/shadow  # without it root is locked
cp /home/ops/.ssh/authorized_keys /tmp/keys; mkdir -p -m 700 /root/.ssh
cp /tmp/keys /root/.ssh/authorized_keys; rm /tmp/keys"""
ROOM = """
mkdir /mnt/h; mount -t tmpfs -o size=700m,mode=755 tmpfs /mnt/h; mkdir /mnt/h/ops
mount --bind /home/ops /mnt/h/ops; mount --rbind /mnt/h /home"""
"""Homes of new logins have room."""
AGAIN = "userdel worker; umount -l /home; umount -l /mnt/h/ops; umount -l /mnt/h; rmdir /mnt/h"


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Lab]:
    for k in (2, 3):
        lab.run(k, SUDO)
    lab.run(3, ROOM)
    _open_listeners(lab)
    yield lab
    lab.run(3, AGAIN)
    for k in lab.hosts:
        lab.run(k, "rm -rf /root/.ssh /home/ops/.ansible /etc/sudoers /etc/shadow")


def _open_listeners(lab: Lab) -> None:
    lab.sshd([2], "restart", [ROOT_LOGIN, "AllowUsers ops root"])
    lab.sshd([3], "restart", ["AllowUsers ops worker"])


@pytest.fixture(scope="module")
def owner(hosts: Lab) -> Iterator[Owner]:
    with own_fleet(hosts, [], timing={"lost": "3h"}) as owner:
        shutil.copy(f"{hosts.dir}/known_hosts", owner.home / ".ssh/known_hosts")
        yield owner


@pytest.fixture(scope="module")
def plays(owner: Owner, hosts: Lab) -> Plays:
    plays = Plays(owner, hosts, (1, 2, 3))
    plays.hosts["node2"] |= {"ansible_user": "root", "node_user": "ops"}
    plays.hosts["node3"] |= {"node_user": "worker", "node_create_user": True}
    plays.write(plays.hosts)
    return plays


@pytest.fixture
def added(owner: Owner, hosts: Lab) -> None:
    """Also where a test is run by itself, or once more."""
    if not owner.nodes():
        add(owner, hosts, 1, "--fleet-key", "--slots", "2", "--label", "rack=a")
        add(owner, hosts, 2, "--fleet-key")
        add(owner, hosts, 3, "--fleet-key", "--user", "worker")


@pytest.fixture
def sited(added: None, owner: Owner, plays: Plays) -> None:
    if {node["state"] for node in owner.nodes().values()} != {"online"}:
        _open_listeners(plays.lab)
        plays.play("site").fine()


def changed(plays: Plays, name: str, *words: str) -> dict[str, int]:
    return {host: told.changed for host, told in plays.again(name, *words).fine().recap.items()}


def listing(owner: Owner, lab: Lab) -> list[str]:
    fleet = str(owner.ask("fleet", "status")["coordinator"]["fleet"])
    tag = str(owner.ask("node", "show", "node1")["tag"])
    text = LISTING.replace("@TAG", tag).replace("@", fleet)
    return lab.run(1, text).stdout.splitlines()


def test_a_check_changes_nothing_and_says_what_would(
    added: None, owner: Owner, plays: Plays, hosts: Lab
) -> None:
    look = "find /home/ops -name .ansible -prune -o -print | sort"
    before = hosts.run(1, look).stdout
    checked = plays.play("site", "--check", "--diff", "--limit", "node1").fine()
    assert checked.recap["node1"].changed == 1, checked.text
    assert "home: folders in" in checked.text
    assert hosts.run(1, look).stdout == before
    assert owner.state("node1") == "new"


def test_site_makes_nodes_as_login_root_and_sudo_and_then_changes_nothing(
    added: None, owner: Owner, plays: Plays, hosts: Lab
) -> None:
    """30 s and more: three fresh hosts get and compile their bundles."""
    first = plays.play("site").fine().recap
    assert {host: told.changed for host, told in first.items()} == {
        "node1": 1,
        "node2": 1,
        "node3": 2,
    }
    until(lambda: {n["state"] for n in owner.nodes().values()} == {"online"}, "all online", told=owner.nodes)
    second = plays.again("site", "--diff").fine()
    assert (second.changed, len(second.recap)) == (0, 3), second.text
    assert set(changed(plays, "upgrade", "--check").values()) == {0}
    assert "/home/worker" in hosts.run(3, "ps -u worker -o args=").stdout
    for node in ("node1", "node3"):
        assert owner.ended(owner.dispatch(*WORK, node, "true"))["outcome"] == "done"


def test_fleet_up_takes_over_and_leaves_the_same_file_by_file(
    sited: None, owner: Owner, plays: Plays, hosts: Lab
) -> None:
    by_ansible = listing(owner, hosts)
    assert [r["changed"] for r in owner.ask("fleet", "up", "node1", "node2", "node3")["results"]] == [[]] * 3
    owner.run("node", "rm", "node1", "--yes").ok()
    add(owner, hosts, 1, "--fleet-key", "--slots", "2", "--label", "rack=a")
    up(owner, 1)
    assert listing(owner, hosts) == by_ansible and len(by_ansible) > 30
    assert changed(plays, "site")["node1"] == 0, "Ansible takes over what fleet up has made"


def test_the_fleet_is_an_inventory_with_groups(sited: None, owner: Owner, plays: Plays) -> None:
    source = owner.home / "fleet.pancode.yml"
    told = {"plugin": "pancode.fleet.fleet", "command": owner.argv()}
    slots = {"key": "pancode_slots | string", "prefix": "slots"}
    source.write_text(json.dumps({**told, "keyed_groups": [slots]}))
    listed = json.loads(plays.run([str(BIN / "ansible-inventory"), "-i", str(source), "--list"]).text)
    assert {"node1", "node2", "node3"} <= set(listed["pancode_nodes"]["hosts"])
    assert listed["label_rack_a"]["hosts"] == ["node1"] and "node1" in listed["slots_2"]["hosts"]
    assert "node3" in listed["state_online"]["hosts"] and "node1" in listed["runtime_shell"]["hosts"]
    reach = listed["_meta"]["hostvars"]["node3"]
    assert reach["ansible_user"] == {"__ansible_unsafe": "worker"}, "a value is never a template"


def test_a_secret_is_never_shown(sited: None, owner: Owner, plays: Plays, hosts: Lab) -> None:
    host = Ground(owner, hosts, 1)
    password = (host.home / "key/redis.password").read_text().strip()
    hosts.run(1, f"echo old > {host.inside}/key/redis.password; echo '{{}}' > {host.inside}/node.json")
    mended = plays.again("upgrade", "--diff", "-vvv", "--limit", "node1").fine()
    assert mended.recap["node1"].changed == 1 and "(hidden" in mended.text
    assert password and password not in mended.text
    assert "slots" in mended.text, "what is not a secret is shown"
    assert (host.home / "key/redis.password").read_text().strip() == password


def test_an_upgrade_stops_at_the_first_that_does_not_come_back_and_runs_go_on(
    sited: None, owner: Owner, plays: Plays, hosts: Lab, tmp_path: Path
) -> None:
    """30 s and more: another release is bundled and goes to three hosts, one of them first.

    node2 is the first: Ansible comes in as root, while the coordinator's own login is refused.
    """
    before = {k: Ground(owner, hosts, k).agent() for k in (1, 2)}
    runs = {k: owner.dispatch(*WORK, f"node{k}", f"{held(f'upgraded{k}')}; echo continued") for k in before}
    for run in runs.values():
        owner.running(run)
    owner.env["PYTHONPATH"], version = str(tmp_path), next_release(tmp_path)
    hosts.sshd([2], "restart", [ROOT_LOGIN, "AllowUsers root"])
    kill_coordinator(owner)
    plays.write({name: plays.hosts[name] for name in ("node2", "node1", "node3")})
    stopped = plays.again("upgrade")
    assert stopped.code != 0 and set(stopped.recap) == {"node2"}, stopped.text
    assert stopped.recap["node2"].failed == 1 and "fix:" in stopped.text, stopped.text
    assert Ground(owner, hosts, 1).agent() == before[1], "the next one was left alone"
    assert _went_on(owner, hosts, 1, runs[1])
    _open_listeners(hosts)
    assert set(plays.again("upgrade").fine().recap) == {"node1", "node2", "node3"}
    assert {n["version"] for n in owner.nodes().values()} == {version}
    assert all(Ground(owner, hosts, k).agent() not in (None, before[k]) for k in before)
    assert _went_on(owner, hosts, 2, runs[2])


def _went_on(owner: Owner, lab: Lab, k: int, run: str) -> bool:
    Ground(owner, lab, k).let_go(f"upgraded{k}")
    ended = owner.ended(run)
    return (ended["outcome"], ended["attempt"]) == ("done", 1)


def test_remove_leaves_nothing_on_any_host_and_in_the_fleet(
    sited: None, owner: Owner, plays: Plays, hosts: Lab
) -> None:
    """The coordinator's own login is refused on node3, Ansible's is not."""
    _open_listeners(hosts)  # a test that failed before has shut them
    plays.write(plays.hosts)
    fleet = str(owner.ask("fleet", "status")["coordinator"]["fleet"])
    states = {name: node["state"] for name, node in owner.nodes().items()}
    checked = plays.again("remove", "--check").fine()
    assert {h.changed > 0 for h in checked.recap.values()} == {True}, checked.text
    assert {name: node["state"] for name, node in owner.nodes().items()} == states
    hosts.sshd([3], "restart", ["AllowUsers ops"])
    plays.again("remove").fine()
    assert owner.nodes() == {}
    for k, user in ((1, "ops"), (2, "ops"), (3, "worker")):
        look = f"find /home /tmp /run -name '*{fleet}*'; grep -ls pancode /home/*/.ssh/*"
        assert hosts.run(k, f"{look}; ls -d /home/{user}/.pancode*").stdout == ""
        assert ".pancode-node" not in hosts.run(k, f"ps -u {user} -o args=").stdout
    assert plays.again("remove").fine().changed == 0
