"""A fleet of this machine whose ledger is a real PostgreSQL: work, a second coordinator, a restart."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.postgres_server import PASSWORD, Postgres, running
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.owner import PATH, Owner, until
from tests.integration.store.cutting import Cut, Wire

pytestmark = pytest.mark.slow
SHOWN = PASSWORD, PASSWORD.replace("/", "%2F"), PASSWORD.partition("/")[0]


@contextmanager
def home_on(url: str) -> Iterator[Owner]:
    root = Path(tempfile.mkdtemp(prefix="pq-"))
    owner = Owner(root, 0.1, {"PANCODE_DATABASE_URL": url, "PATH": f"{Path(sys.executable).parent}:{PATH}"})
    owner.fleet_home.mkdir(mode=0o700)
    lay_out_bundles(owner.fleet_home / "bundles")
    try:
        yield owner
    finally:
        keep_bundles(owner.fleet_home / "bundles")
        owner.down()
        shutil.rmtree(root, ignore_errors=True)


def work(owner: Owner, *argv: str) -> str:
    """A run of this machine, not waited for."""
    words = "dispatch", "--detach", "--json", "--runtime", "shell", "--workspace", "none"
    return str(owner.run(*words, "--", *argv).ok().json()["run"])


def test_a_fleet_whose_ledger_is_a_postgresql() -> None:
    """A whole fleet with two bring-ups and a restarted server: half a minute on a busy node."""
    with running() as server:
        server.do("create database fleet")
        url = server.by_tcp("fleet")
        with wired(server) as wire, home_on(url.replace(f":{server.port}/", f":{wire.port}/")) as owner:
            owner.run("fleet", "up", timeout_s=180).ok()
            answers_are_lost(server, wire, owner)
            assert owner.ended(work(owner, "/bin/true"))["outcome"] == "done"
            assert not (owner.fleet_home / "ledger.db").exists()
            second_is_refused(url)
            the_server_restarts(server, owner)
            said = owner.run("doctor")
            assert "PostgreSQL 1" in said.out and "answers in" in said.out, said
            shown = owner.run("config", "show", "--origin").ok().out + said.out + said.err
            assert "PANCODE_DATABASE_URL" in shown and not any(word in shown for word in SHOWN)
            assert told_nowhere(owner.fleet_home.parent) == []


@contextmanager
def wired(server: Postgres) -> Iterator[Wire]:
    """A way to the server that can lose what it says; without it the address is the server's own."""
    wire = Wire(f"{server.folder}/.s.PGSQL.{server.port}")
    try:
        yield wire
    finally:
        wire.close()


def answers_are_lost(server: Postgres, wire: Wire, owner: Owner) -> None:
    """To COMMIT, while runs are admitted and end: each is there once, and comes to its end."""
    runs = []
    for number in range(1, 4):
        wire.next = Cut.AFTER
        runs.append(work(owner, "/bin/true"))
        until(lambda number=number: wire.cuts == number, "an answer was lost", 30)  # type: ignore[misc]
    wire.next = Cut.NOWHERE
    assert [owner.ended(run)["outcome"] for run in runs] == ["done"] * 3
    told = server.do("select id from runs order by created_ms, id", database="fleet").split()
    assert sorted(told) == sorted(runs) and len(set(runs)) == 3
    spent = server.do("select count(*) from attempts", database="fleet").strip()
    assert spent == "3", "and each was tried once"


def second_is_refused(url: str) -> None:
    with home_on(url) as other:
        said = other.run("fleet", "status")
        told = said.out + said.err
        assert said.code == 6 and "is in use by another coordinator" in told, said
        assert "pancode, pid" in told and not any(word in told for word in SHOWN)


def the_server_restarts(server: Postgres, owner: Owner) -> None:
    """While a run works; it ends while nobody can write it down."""
    run = work(owner, "/bin/sleep", "4")
    owner.running(run)
    server.stop()
    said = owner.run("dispatch", "--detach", "--runtime", "shell", "--workspace", "none", "--", "/bin/true")
    assert said.code == 6 and "PostgreSQL" in said.err and "psql" in said.err, said
    server.start()
    assert owner.ended(run)["outcome"] == "done"
    until(lambda: owner.ended(work(owner, "/bin/true"))["outcome"] == "done", "work continues", 60)
    owner.run("receipt", "verify", run).ok()


def told_nowhere(root: Path) -> list[Path]:
    """Files of the user's home that hold the password."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(word.encode() in path.read_bytes() for word in SHOWN)]
