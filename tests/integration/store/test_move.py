"""A ledger is moved from a file to PostgreSQL and back: all of it, or nothing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemIds
from pancode.app.administration import move_ledger
from pancode.app.fleet_identity import fleet_id
from pancode.app.schema import SCHEMA
from pancode.fleet.ssh.home import Home
from pancode.kernel.errors import ConfigError, NotFoundError, PancodeError, UnavailableError
from pancode.kernel.host.single_instance import AlreadyRunningError, HomeLock
from pancode.kernel.records import Audit, Balance, Record, Setting
from pancode.store.ledger import SqlLedger
from pancode.store.move import Where, kept_as, move
from pancode.store.postgres import Database
from tests.contract.postgres_server import Postgres
from tests.contract.test_ledger import SAMPLES

ODD = "naïve ‘quotes’ \U0001f600 \\ ' \" \n"


@pytest.fixture
def database(postgres: Postgres) -> Database:
    return postgres.database()


def filled(where: Where, more: int = 2_500) -> None:
    """One of each kind of record, and more than is copied at once."""
    ledger = SqlLedger(where, SCHEMA)
    with ledger.transaction() as tx:
        for record in SAMPLES:
            tx.put(record)
        for number in range(100, 100 + more):
            tx.put(Audit(number, number, "fleet", "info", ODD, {"n": [number, None, ODD]}))
    ledger.close()


def everything(where: Where) -> dict[type[Record], list[Record]]:
    ledger = SqlLedger(where, SCHEMA)
    with ledger.transaction() as tx:
        found = {kind: list(tx.find(kind)) for kind in SCHEMA.tables}
    ledger.close()
    found[Setting] = [s for s in found[Setting] if isinstance(s, Setting) and s.name != "moved_to"]
    return found


def test_there_and_back_it_is_the_same(tmp_path: Path, database: Database, postgres: Postgres) -> None:
    path = tmp_path / "ledger.db"
    filled(path)
    before = everything(path)
    told = move(path, database, SCHEMA, 5)
    assert everything(database) == before
    assert {m.table: m.rows for m in told}["audit"] == len(before[Audit]) > 2_500
    assert not path.exists() and everything(kept_as(path)) == before
    move(database, path, SCHEMA, 6)
    assert everything(path) == before


def test_a_place_that_holds_a_ledger_is_not_written_over(tmp_path: Path, database: Database) -> None:
    path = tmp_path / "ledger.db"
    filled(path, 1)
    other = SqlLedger(database, SCHEMA)
    with other.transaction() as tx:
        tx.put(Balance("day:1", Decimal(7)))
    other.close()
    before = everything(database), everything(path)
    with pytest.raises(ConfigError, match="already") as caught:
        move(path, database, SCHEMA, 5)
    assert "1 rows in balances" in caught.value.why and caught.value.code == "ledger_not_empty"
    assert (everything(database), everything(path)) == before


@pytest.mark.slow
def test_a_place_where_a_coordinator_works_is_left_alone(tmp_path: Path, database: Database) -> None:
    path = tmp_path / "ledger.db"
    filled(path, 1)
    running = SqlLedger(database, SCHEMA)
    with pytest.raises(UnavailableError, match="another coordinator"):
        move(path, database, SCHEMA, 5)
    running.close()
    assert path.exists()


def test_what_was_moved_is_used_no_more(tmp_path: Path, database: Database, postgres: Postgres) -> None:
    path = tmp_path / "ledger.db"
    filled(path, 1)
    move(path, database, SCHEMA, 5)
    move(database, path, SCHEMA, 6)
    with pytest.raises(ConfigError, match="was moved to"):
        move(database, tmp_path / "other.db", SCHEMA, 7)
    ledger = SqlLedger(database, SCHEMA)
    with pytest.raises(ConfigError, match="was moved to") as caught:
        fleet_id(ledger, Home(tmp_path), 1, SystemIds())
    ledger.close()
    assert str(path) in str(caught.value) and "PANCODE_DATABASE_URL" in caught.value.fix


def test_what_is_no_ledger_is_not_moved(tmp_path: Path, database: Database) -> None:
    with pytest.raises(NotFoundError, match="no ledger found at"):
        move(tmp_path / "ledger.db", database, SCHEMA, 5)
    with pytest.raises(NotFoundError, match="is empty"):
        move(database, tmp_path / "ledger.db", SCHEMA, 5)


def test_a_copy_that_breaks_off_changes_nothing(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What PostgreSQL cannot hold is said, and the next try finds the target empty."""
    path = tmp_path / "ledger.db"
    filled(path, 1)
    ledger = SqlLedger(path, SCHEMA)
    with ledger.transaction() as tx:
        tx.put(replace(Audit(1, 1, "fleet", "info", "a\0b", {}), number=9_999))
    ledger.close()
    with pytest.raises(PancodeError, match="refused a statement"):
        move(path, database, SCHEMA, 5)
    ledger = SqlLedger(path, SCHEMA)
    with ledger.transaction() as tx:
        tx.delete(Audit, 9_999)
    ledger.close()
    move(path, database, SCHEMA, 5)
    assert not path.exists()


def test_the_settings_say_where_to(tmp_path: Path, postgres: Postgres) -> None:
    home, url = tmp_path / "h", postgres.new()
    home.mkdir(mode=0o700)
    filled(home / "ledger.db", 1)
    environ = {"PANCODE_DATABASE_URL": url}
    with pytest.raises(PancodeError, check=lambda error: "PANCODE_DATABASE_URL" in error.fix):
        move_ledger(home, {}, "file", None)
    running = HomeLock(home)
    running.take()
    with pytest.raises(AlreadyRunningError, match="running") as caught:
        move_ledger(home, environ, "file", None)
    assert "pancode fleet down" in caught.value.fix
    running.leave()
    there = move_ledger(home, environ, "file", None)
    assert there["kept"] == str(home / "ledger.db.moved") and there["to"].startswith("postgresql://pancode@")
    back = move_ledger(home, {}, url, None)
    assert back["to"] == str(home / "ledger.db") and (home / "ledger.db").exists()
