"""Somebody else's Redis by TLS: nodes speak to their own socket; a password changed while we run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.contract.certificates import Authority
from tests.contract.redis_servers import TlsRedis
from tests.e2e.fleets import own_fleet, up
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow
REFUSED = "Redis refuses our password."


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def server(authority: Authority) -> Iterator[TlsRedis]:
    made = TlsRedis(authority, authority.issue("here", "127.0.0.1"), clients=True)
    yield made
    made.discard()


def test_a_run_through_tls_and_a_password_that_is_changed(
    healed: Lab, server: TlsRedis, authority: Authority, tmp_path: Path
) -> None:
    ours, secret = authority.issue("coordinator"), tmp_path / "password"
    secret.write_text("first\n")
    beside = {
        "PANCODE_REDIS_URL": server.url(login="pancode@"),
        "PANCODE_REDIS_PASSWORD_FILE": str(secret),
        "PANCODE_REDIS_CA_FILE": str(authority.ca),
        "PANCODE_REDIS_CERT_FILE": str(ours.cert),
        "PANCODE_REDIS_KEY_FILE": str(ours.key),
    }
    with own_fleet(healed, [1], extra=beside) as owner:
        up(owner, 1)
        run = one_run(owner)
        assert owner.ask("receipt", "verify", run)["verdict"] == "PASS"
        users = server.do("ACL", "LIST")
        assert users.count("user node-") == 1 and "~rq:*" not in users
        seen = server.do("CLIENT", "LIST").splitlines()
        assert any("user=node-" in line for line in seen), "the node has come in as itself"
        the_password_is_changed(owner, server, secret)


def one_run(owner: Owner) -> str:
    top = owner.home / "external"
    top = top if top.exists() else owner.repository(top.name)
    task = script("write made.txt 'made\\n'", "usage 10 5 0.02")
    run = owner.ask("dispatch", "--runtime", "scripted", task, cwd=top)
    assert (run["outcome"], run["files_changed"]) == ("done", ["made.txt"])
    return str(run["run"])


def the_password_is_changed(owner: Owner, server: TlsRedis, secret: Path) -> None:
    """Nothing is noticed while a connection lasts; then it is told once, shown, and repaired by the file."""
    server.do("ACL", "SETUSER", "pancode", "resetpass", ">second")
    server.do("CLIENT", "KILL", "USER", "pancode")
    until(lambda: trouble(owner) == REFUSED, "the status shows it", 60)
    said = owner.run("fleet", "status").ok().out
    assert REFUSED in said and str(secret) in said and "redis-cli" in said and "PANCODE_REDIS_URL" in said
    secret.write_text("second\n")
    until(lambda: trouble(owner) is None, "it is repaired", 60)
    one_run(owner)
    log = (owner.fleet_home / "run/coordinator.log").read_text()
    told = [str(line["message"]) for line in map(json.loads, log.splitlines()) if _is_of_redis(line)]
    assert any(one.startswith(REFUSED) for one in told) and told[-1].startswith("working again"), told
    assert all(one != after for one, after in pairwise(told)), "once, until it is another one"
    assert "Traceback" not in log and "first" not in log and "second" not in log


def _is_of_redis(line: dict[str, object]) -> bool:
    return "Redis" in str(line["message"]) and line["logger"] == "pancode.rounds"


def trouble(owner: Owner) -> str | None:
    found = owner.ask("fleet", "status")["coordinator"]["trouble"]
    return None if found is None else str(found["what"])
