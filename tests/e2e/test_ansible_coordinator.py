"""A coordinator's life under the real ansible-playbook: with PostgreSQL and a Redis that wants certificates,
as the system's service and as its login's, out and in again, and purged.

The tests share one host whose PID 1 is systemd and go through that life in order.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clis.install import ROOT
from tests.contract.certificates import Authority, Pair
from tests.e2e import postgres_on
from tests.e2e.bare_host import bare_host, inside
from tests.e2e.fleets import own_fleet
from tests.e2e.owner import Owner, until
from tests.e2e.plays import Played, Plays
from tests.integration.packaging.wheelhouse import wheelhouse
from tests.lab import Lab

pytestmark = pytest.mark.slow

PORT = 6380
GIVEN = "/home/desk/.pancode/given"
NO_REDIS = ("-e", "pancode_redis_hosts=localhost,!localhost")
"""The play of the Redis is left out."""
PURGE = ("-e", "pancode_purge=true")
LIST = """
find /etc /home /root /var/lib /opt /srv /usr/local \\( -path /home/ops -o -path /home/pg \\
  -o -path /home/debs -o -path /var/lib/dpkg -o -path /var/lib/apt -o -name '*-' -o -name .pwd.lock \\) \\
  -prune -o -printf '%y %m %U %p %l\\n' | sort
cat /etc/passwd /etc/group /etc/subuid /etc/subgid | sort
ps -eo user:20=,args= | grep -E '^(desk|redis) ' | sort
ls -d /run/redis* /run/user/* /var/lib/systemd/linger/*"""
"""Files with modes and owners, logins, processes; not the copies that programs keep of /etc/passwd."""
WORK = "dispatch --runtime shell --workspace none --json -- uname -s"


@pytest.fixture(scope="module")
def machine() -> Iterator[Lab]:
    with bare_host("d") as lab:
        postgres_on.serve(lab, 1, "fleet")
        yield lab


@pytest.fixture(scope="module")
def before(machine: Lab) -> list[str]:
    """The host before anything of ours came; packages stay, and are there already."""
    done = machine.run(1, "apt-get install -y -qq redis-server")
    assert done.returncode == 0, done.stdout + done.stderr
    return inside(machine, LIST).splitlines()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What .ci/dist makes of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run([ROOT / ".ci/dist", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def plays(machine: Lab, before: list[str], authority: Authority, wheel: Path) -> Iterator[Plays]:
    """The host is to have a Redis with the owner's certificates, and a coordinator, from a wheel."""
    addr = str(machine.hosts[1]["addr"])
    server, client = authority.issue("server", addr), authority.issue("coordinator")
    with own_fleet(machine, []) as owner:
        (owner.home / "redis.password").write_text("of the redis\n")
        shutil.copy(f"{machine.dir}/known_hosts", owner.home / ".ssh/known_hosts")
        plays = Plays(owner, machine, (1,))
        plays.groups = {
            "pancode_redis": {"node1": _redis(owner, server, authority)},
            "pancode_coordinator": {"node1": _coordinator(addr, wheel, client, authority)},
        }
        for hosts in plays.groups.values():
            hosts["node1"]["ansible_host"] = addr
        plays.write(plays.hosts)
        yield plays


def _redis(owner: Owner, server: Pair, authority: Authority) -> dict[str, Any]:
    return {
        "redis_password_file": str(owner.home / "redis.password"),
        "redis_tls_cert": str(server.cert),
        "redis_tls_key": str(server.key),
        "redis_tls_clients_ca": str(authority.ca),
    }


def _coordinator(addr: str, wheel: Path, client: Pair, authority: Authority) -> dict[str, Any]:
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
    redis = {name: f"{GIVEN}/{file}" for name, file in {**files, "password_file": "redis.password"}.items()}
    ledger = {"url": "postgresql://pancode@127.0.0.1/fleet", "password_file": f"{GIVEN}/ledger.password"}
    return {
        "coordinator_user": "desk",
        "coordinator_packages": ["git", "openssh-client"],
        "coordinator_python": f"{sys.base_prefix}/bin/python3",
        "coordinator_wheel": str(wheel),
        "coordinator_extras": ["postgresql"],
        "coordinator_pip_args": ["--no-index", "--find-links", str(wheelhouse())],
        "coordinator_settings": {
            "redis": {"url": f"rediss://pancode@{addr}:{PORT}", **redis},
            "ledger": ledger,
        },
        "coordinator_given": {
            "ca.pem": authority.ca.read_text(),
            "client.pem": client.cert.read_text(),
            "client.key": client.key.read_text(),
            "redis.password": "of the redis\n",
            "ledger.password": f"{postgres_on.PASSWORD}\n",
        },
    }


def change(plays: Plays, **values: Any) -> None:
    """Of the coordinator's variables in the inventory."""
    plays.groups["pancode_coordinator"]["node1"] |= values
    plays.write(plays.hosts)


def as_desk(lab: Lab, words: str) -> str:
    uid = "$(id -u desk)"
    shell = f"cd; .local/share/pancode/bin/pancode {words}"
    return inside(lab, f"sudo -u desk -H XDG_RUNTIME_DIR=/run/user/{uid} sh -c '{shell}' 2>&1")


def asked(lab: Lab, words: str) -> Any:
    said = as_desk(lab, f"{words} --json")
    try:
        return json.loads(said)
    except ValueError:
        raise AssertionError(said) from None


def of_desk(played: Played) -> int:
    return played.fine().recap["node1"].changed


def unit(lab: Lab) -> str:
    return inside(lab, "cd /etc/systemd/system; echo pancode-*.service")


@pytest.fixture
def there(plays: Plays, machine: Lab) -> None:
    """Also where a test is run by itself."""
    if inside(machine, "ls /home/desk/.local/share/pancode/bin/pancode") == "":
        plays.play("coordinator").fine()
    if not asked(machine, "node ls")["nodes"]:
        as_desk(machine, "fleet up")


def test_a_coordinator_is_a_service_with_its_ledger_in_postgresql(plays: Plays, machine: Lab) -> None:
    """30 s and more: an environment is made, and PanCode is installed in it."""
    checked = plays.again("coordinator", "--check", "--diff").fine()
    assert (
        checked.recap["node1"].changed > 0
        and inside(machine, "ls -d /home/desk /etc/redis/redis-pancode.conf") == ""
    )
    made = plays.play("coordinator").fine()
    assert not any(word in checked.text + made.text for word in ("of the redis", postgres_on.PASSWORD))
    states = f"systemctl show -P ActiveState -P UnitFileState -P User -P NRestarts {unit(machine)}"
    assert set(inside(machine, states).split()) == {"active", "enabled", "desk", "0"}
    said = as_desk(machine, "doctor")
    assert "over TLS" in said and "PostgreSQL 1" in said, said
    told = asked(machine, "fleet status")["coordinator"]
    assert told["trouble"] is None
    assert str(told["pid"]) == inside(machine, f"systemctl show -P MainPID {unit(machine)}")


def test_a_second_time_nothing_changes(there: None, plays: Plays) -> None:
    """30 s on a busy node: two plays of both roles."""
    again = plays.again("coordinator", "--diff").fine()
    assert again.changed == 0, again.text
    assert plays.again("coordinator", "--check").fine().changed == 0


def test_a_run_goes_through_it(there: None, plays: Plays, machine: Lab) -> None:
    """30 s on a busy node: the desk itself is brought up as a machine of its fleet."""
    said = as_desk(machine, "fleet up")
    assert "online" in said, said
    run = json.loads(as_desk(machine, WORK))
    assert run["outcome"] == "done", run
    found = postgres_on.ask(machine, 1, "select id from runs", "fleet")
    assert found == run["run"] and inside(machine, "ls /home/desk/.pancode/ledger.db") == ""


@pytest.mark.parametrize("kind", ["none", "foreign", "expired"])
def test_a_certificate_that_the_redis_does_not_accept(
    there: None, plays: Plays, machine: Lab, authority: Authority, tmp_path: Path, kind: str
) -> None:
    """As the coordinator's login sees it: which, where it is configured, and the command that tests it."""
    pair = {
        "none": None,
        "foreign": Authority(tmp_path / "other", "other").issue("coordinator"),
        "expired": authority.issue("expired", days_ago=60),
    }[kind]
    said = with_files(machine, "" if pair is None else pair.cert.read_text() + pair.key.read_text())
    assert "Redis does not accept our certificate." in said, said
    assert "redis.cert_file" in said and "redis-cli" in said and "--tls" in said
    assert kind == "none" or "/tmp/odd.pem" in said, said


def with_files(lab: Lab, text: str) -> str:
    """What `doctor` says with another certificate and key, or with none."""
    empty = "" if text else "sed -i /_file:.*client/d /home/desk/.pancode/pancode.yaml; "
    lab.run(1, f"cat > /tmp/odd.pem <<'END'\n{text}END\nchown desk /tmp/odd.pem")
    lab.run(1, f"cp -p /home/desk/.pancode/pancode.yaml /tmp/kept; {empty}")
    odd = "PANCODE_REDIS_CERT_FILE=/tmp/odd.pem PANCODE_REDIS_KEY_FILE=/tmp/odd.pem " if text else ""
    try:
        return inside(lab, f"sudo -u desk -H {odd}/home/desk/.local/share/pancode/bin/pancode doctor")
    finally:
        lab.run(1, "mv /tmp/kept /home/desk/.pancode/pancode.yaml; rm /tmp/odd.pem")


def test_a_wrong_password_is_named_by_the_play_and_a_right_one_counts_at_once(
    there: None, plays: Plays, machine: Lab
) -> None:
    node = plays.groups["pancode_coordinator"]["node1"]
    right, settings = node["coordinator_given"], node["coordinator_settings"]
    before = asked(machine, "fleet status")["coordinator"]["pid"]
    change(plays, coordinator_given={**right, "ledger.password": "another\n"})
    failed = plays.again("coordinator", *NO_REDIS)
    assert failed.recap["node1"].failed == 1, failed.text
    said = failed.text
    assert "refused our user or password" in said and f"{GIVEN}/ledger.password" in said, said
    assert "pancode.yaml:" in said and "psql" in said and "another" not in said
    change(plays, coordinator_given=right, coordinator_settings={**settings, "budget": {"ceiling": 7}})
    assert of_desk(plays.again("coordinator", *NO_REDIS)) > 0
    assert asked(machine, "fleet status")["coordinator"]["pid"] != before
    assert "7" in as_desk(machine, "budget show")


def test_removed_it_leaves_the_owners_data(there: None, plays: Plays, machine: Lab) -> None:
    """30 s on a busy node: four plays."""
    pid = asked(machine, "fleet status")["coordinator"]["pid"]
    checked = plays.again("remove_coordinator", "--check").fine()
    assert checked.recap["node1"].changed > 2, checked.text
    assert asked(machine, "fleet status")["coordinator"]["pid"] == pid
    gone = plays.play("remove_coordinator").fine()
    assert "kept on node1: the login desk, /home/desk/.pancode " in gone.text, gone.text
    assert inside(machine, f"ls -d /proc/{pid} /etc/systemd/system/pancode-*") == ""
    assert inside(machine, "ls /etc/redis; ls -A /home/desk/.local/share") == "redis.conf"
    assert inside(machine, "systemctl is-active redis-server@pancode; ss -Htln 'sport = :6380'") == "inactive"
    assert "users.acl" in inside(machine, "ls /var/lib/redis/pancode")
    again = plays.again("remove_coordinator").fine()
    assert again.changed == 0, again.text
    refused = plays.again("remove_coordinator", *PURGE)
    assert "nobody can say which machines are in its fleet" in refused.text, refused.text
    assert inside(machine, "ls -d /home/desk/.pancode/key /var/lib/redis/pancode | wc -l") == "2"


def test_it_comes_back_to_its_data_as_a_service_of_the_login(plays: Plays, machine: Lab) -> None:
    """30 s and more: PanCode is installed once more."""
    change(plays, coordinator_service="user")
    plays.play("coordinator").fine()
    assert inside(machine, "ls /etc/systemd/system/pancode-*") == ""
    (run,) = asked(machine, "runs")["runs"]
    assert run["outcome"] == "done", "the ledger is the one from before"
    again = plays.again("coordinator", "--diff").fine()
    assert again.changed == 0, again.text
    started_by_hand = asked(machine, "fleet status")["coordinator"]
    assert "user service" in started_by_hand["after_reboot"], started_by_hand
    booted(machine, started_by_hand["pid"])
    until(lambda: main_pid(machine) != "0", "the login's manager starts it", 90)
    told = asked(machine, "fleet status")["coordinator"]
    assert str(told["pid"]) == main_pid(machine) and told["trouble"] is None
    again = plays.again("coordinator", *NO_REDIS).fine()
    assert again.changed == 0, again.text


def booted(lab: Lab, pid: int) -> None:
    """As after a boot: nothing of the login runs, then its manager starts, since it lingers."""
    done = lab.run(1, f"kill {pid}; systemctl stop user@$(id -u desk); systemctl start user@$(id -u desk)")
    assert done.returncode == 0, done.stderr


def main_pid(lab: Lab) -> str:
    asks = "systemctl --user show -P MainPID $(cd .config/systemd/user; ls -d pancode-??????????.service)"
    become = "sudo -u desk -H XDG_RUNTIME_DIR=/run/user/$(id -u desk)"
    return inside(lab, f"{become} sh -c 'cd; {asks}'")


def test_purged_nothing_is_left(there: None, plays: Plays, machine: Lab, before: list[str]) -> None:
    """30 s and more: three plays."""
    refused = plays.again("remove_coordinator", *PURGE)
    assert refused.recap["node1"].failed == 1 and "still in its fleet: " in refused.text, refused.text
    (name,) = [node["name"] for node in asked(machine, "node ls")["nodes"]]
    assert name in refused.text and "pancode node rm" in refused.text
    assert "nothing of PanCode is left" in as_desk(machine, f"node rm {name} --yes")
    plays.play("remove_coordinator", *PURGE).fine()
    until(
        lambda: inside(machine, LIST).splitlines() == before,
        "nothing is left",
        30,
        lambda: odd(machine, before),
    )
    assert plays.again("remove_coordinator", *PURGE).fine().changed == 0


def odd(lab: Lab, before: list[str]) -> list[str]:
    """What is there and was not, and what was there and is not."""
    return sorted(set(inside(lab, LIST).splitlines()) ^ set(before))
