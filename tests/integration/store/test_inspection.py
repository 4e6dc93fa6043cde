"""`doctor` looks at the ledger: whole, damaged, of another version, while it is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pancode.app.doctor import run_checks
from pancode.app.schema import SCHEMA
from pancode.kernel.records import Setting
from pancode.store.inspection import REVISIONS, look_at
from pancode.store.ledger import SqlLedger
from pancode.store.migrations import HEAD
from tests.unit.pancode.runs.world import Desk


def judged(home: Path) -> tuple[bool, str]:
    (check,) = [c for c in run_checks(home, {}) if c["what"] == "ledger"]
    return check["ok"], check["detail"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    ledger = SqlLedger(home / "ledger.db", SCHEMA)
    with ledger.transaction() as tx:
        for number in range(2_000):
            tx.put(Setting(f"s{number}", "x" * 200, 0, "test"))
        tx.insert(Desk().dispatch("r-0001"))
    ledger.close()
    return home


def test_before_the_first_start(tmp_path: Path) -> None:
    assert judged(tmp_path / "none") == (True, "will be created at the first start")


def test_one_that_is_sound(home: Path) -> None:
    before = (home / "ledger.db").read_bytes()
    ok, detail = judged(home)
    assert ok and detail.endswith("1 run, sound") and str(home / "ledger.db") in detail
    assert (home / "ledger.db").read_bytes() == before and HEAD in REVISIONS


def test_while_a_coordinator_writes(home: Path) -> None:
    ledger = SqlLedger(home / "ledger.db", SCHEMA)
    with ledger.transaction() as tx:
        tx.put(Setting("now", 1, 0, "test"))
        assert judged(home)[0]
    ledger.close()


@pytest.mark.parametrize("at", [0, 20_000])
def test_one_that_is_damaged(home: Path, at: int) -> None:
    with open(home / "ledger.db", "r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 50_000)
    ok, detail = judged(home)
    assert not ok and "ledger.db" in detail


def test_one_of_a_newer_version(home: Path) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as ledger:
        ledger.execute("UPDATE alembic_version SET version_num = '9999'")
        ledger.commit()
    ok, detail = judged(home)
    assert not ok and "schema 9999" in detail


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no database")
    assert not judged(tmp_path)[0]
    with pytest.raises(sqlite3.Error):
        look_at(tmp_path / "ledger.db")
