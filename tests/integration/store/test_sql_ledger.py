"""The ledger on disk: killed, full, locked, damaged, older, newer, unwritable."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from node_agent.wire.failure import FailureKind, Outcome
from pancode.app.schema import SCHEMA
from pancode.kernel.errors import ConfigError, PancodeError, UnavailableError
from pancode.kernel.records import Attempt, Balance, BookEntry, Setting
from pancode.store.errors import LedgerDamagedError
from pancode.store.ledger import SqlLedger, SqlTransaction
from pancode.store.migration import Revisions
from pancode.store.migrations import HEAD
from pancode.store.migrations.script import SHIPPED, scripts
from pancode.store.sqlite import engine_for, sqlite_url

ROOT = Path(__file__).parents[3]
AFTER = f"{int(HEAD) + 1:04}"
NEXT = """
from __future__ import annotations
from alembic import op
revision = "{after}"
down_revision = "{head}"
def upgrade() -> None:
    op.execute("UPDATE settings SET changed_by = 'migrated'")
    {end}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "ledger.db"


def keep(path: Path, name: str = "epoch", value: object = 1) -> None:
    ledger = SqlLedger(path, SCHEMA)
    with ledger.transaction() as tx:
        tx.put(Setting(name, value, 1, "ana"))
    ledger.close()


def setting(ledger: SqlLedger, name: str = "epoch") -> Setting | None:
    with ledger.transaction() as tx:
        return tx.get(Setting, name)


def driver_of(tx: object) -> sqlite3.Connection:
    """What the transaction speaks to."""
    assert isinstance(tx, SqlTransaction) and tx._connection is not None
    return cast(sqlite3.Connection, tx._connection.connection.driver_connection)


def refused(path: Path, **options: Revisions | int) -> PancodeError:
    with pytest.raises(PancodeError) as caught:
        SqlLedger(path, SCHEMA, **options)  # type: ignore[arg-type]
    return caught.value


def test_what_was_committed_is_there_after_the_process_was_killed(path: Path) -> None:
    said = 0
    for wanted in (1, 7, 60):
        command = [sys.executable, "-m", "tests.integration.store.writer", str(path)]
        path.unlink(missing_ok=True)
        writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for line in writer.stdout:
            said = int(line)
            if said >= wanted:
                break
        writer.kill()
        said = max([said, *(int(line) for line in writer.stdout.read().split("\n")[:-1] if line)])
        writer.wait()
        writer.stdout.close()
        ledger = SqlLedger(path, SCHEMA)
        with ledger.transaction() as tx:
            entries, balance = tx.find(BookEntry), tx.get(Balance, "day:1")
        ledger.close()
        # One more may be durable than was said: the kill came between the commit and the word.
        assert len(entries) in (said, said + 1)
        assert balance == Balance("day:1", Decimal(len(entries)))
        for side in ("", "-wal", "-shm"):
            Path(f"{path}{side}").unlink(missing_ok=True)


def test_every_commit_is_synced(path: Path) -> None:
    engine = engine_for(sqlite_url(path), 0)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


def test_only_the_owner_can_read_it(path: Path) -> None:
    ledger = SqlLedger(path, SCHEMA)
    with ledger.transaction() as tx:
        tx.put(Setting("a", 1, 1, "ana"))
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    ledger.close()
    assert set(modes.values()) == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_full_disk_is_said_and_nothing_is_half_written(path: Path) -> None:
    keep(path)
    ledger = SqlLedger(path, SCHEMA)
    with ledger.transaction() as tx:
        pages = driver_of(tx).execute("PRAGMA page_count").fetchone()[0]
        driver_of(tx).execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(UnavailableError, match="full") as caught, ledger.transaction() as tx:
        tx.put(Setting("epoch", 2, 1, "ana"))
        for number in range(200):
            tx.insert(Setting(f"s{number}", "x" * 1000, 1, "ana"))
    assert caught.value.code == "ledger_disk_full"
    assert "df -h" in caught.value.fix
    assert setting(ledger) == Setting("epoch", 1, 1, "ana")
    assert setting(ledger, "s0") is None
    ledger.close()


def test_a_lock_of_another_process_is_said(path: Path) -> None:
    keep(path)
    ledger = SqlLedger(path, SCHEMA, busy_ms=10)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="another process") as caught, ledger.transaction():
        pass
    assert caught.value.retryable
    assert refused(path, busy_ms=10).code == "ledger_locked"
    other.execute("ROLLBACK")
    other.close()
    assert setting(ledger) == Setting("epoch", 1, 1, "ana")
    ledger.close()


@pytest.mark.parametrize(
    "content", [b"this is not a database, " * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_damaged_file_is_said_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    error = refused(path)
    assert isinstance(error, LedgerDamagedError)
    assert not error.retryable
    assert ".recover" in error.fix
    assert path.read_bytes() == content


def test_damage_found_later_is_said(path: Path) -> None:
    keep(path)
    ledger = SqlLedger(path, SCHEMA)
    with ledger.transaction() as tx:
        for number in range(500):
            tx.insert(Setting(f"s{number:03}", "x" * 1000, 1, "ana"))
    ledger.close()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    ledger = SqlLedger(path, SCHEMA)
    with pytest.raises(LedgerDamagedError), ledger.transaction() as tx:
        tx.find(Setting)
    ledger.close()


def test_a_place_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = refused(tmp_path / "file" / "ledger.db")
    assert isinstance(error, ConfigError)
    assert "PANCODE_HOME" in error.fix
    folder = tmp_path / "ledger.db"
    folder.mkdir()
    assert refused(folder).code == "ledger_forbidden"


def test_a_ledger_of_a_newer_version_is_not_touched(path: Path) -> None:
    keep(path)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    error = refused(path)
    assert isinstance(error, ConfigError)
    assert "9999" in error.why
    assert HEAD in error.why
    assert [file.name for file in path.parent.glob("*before*")] == []


def newer(tmp_path: Path, end: str) -> Revisions:
    folder = tmp_path / "versions"
    folder.mkdir(exist_ok=True)
    (folder / f"{AFTER}_next.py").write_text(NEXT.format(end=end, head=HEAD, after=AFTER))
    return Revisions(AFTER, (*SHIPPED, folder))


def test_an_older_ledger_is_copied_and_brought_up_to_date(path: Path, tmp_path: Path) -> None:
    keep(path)
    ledger = SqlLedger(path, SCHEMA, history=newer(tmp_path, "pass"))
    assert setting(ledger) == Setting("epoch", 1, 1, "migrated")
    ledger.close()
    copy = path.with_name(f"ledger.db.{HEAD}-before-{AFTER}")
    assert copy.stat().st_mode & 0o777 == 0o600
    before = SqlLedger(copy, SCHEMA)
    assert setting(before) == Setting("epoch", 1, 1, "ana")
    before.close()


def test_a_migration_that_fails_changes_nothing(path: Path, tmp_path: Path) -> None:
    keep(path)
    history = newer(tmp_path, "op.execute('UPDATE nowhere SET x = 1')")
    assert "nowhere" in refused(path, history=history).why
    ledger = SqlLedger(path, SCHEMA)
    assert setting(ledger) == Setting("epoch", 1, 1, "ana")
    ledger.close()


def test_the_newest_revision_has_the_schema_of_the_records(path: Path) -> None:
    SqlLedger(path, SCHEMA, history=Revisions(HEAD, SHIPPED)).close()
    engine = engine_for(sqlite_url(path), 0)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, SCHEMA.metadata)
    engine.dispose()
    assert differences == [], "write a revision: python -m tests.fixtures.revision MESSAGE"
    assert scripts().get_current_head() == HEAD


def test_a_new_ledger_is_what_the_revisions_make(path: Path, tmp_path: Path) -> None:
    migrated = tmp_path / "migrated.db"
    SqlLedger(path, SCHEMA).close()
    SqlLedger(migrated, SCHEMA, history=Revisions(HEAD, SHIPPED)).close()
    assert schema(path) == schema(migrated)


def schema(path: Path) -> set[tuple[object, ...]]:
    """Each table's and each index's columns, as SQLite sees them, and the revision.

    Columns are read by name: a revision adds one at the end of its table.
    """
    with closing(sqlite3.connect(path)) as ledger:
        found: set[tuple[object, ...]] = set(ledger.execute("SELECT * FROM alembic_version"))
        for kind, name in ledger.execute("SELECT type, name FROM sqlite_master").fetchall():
            look = "table_info" if kind == "table" else "index_xinfo"
            rows = ledger.execute(f"PRAGMA {look}({name})").fetchall()
            place = 0 if kind == "table" else 1  # the number of the column in its table
            found |= {(kind, name, *row[:place], *row[place + 1 :]) for row in rows}
        return found


def test_a_new_ledger_takes_no_memory_for_migrations(path: Path) -> None:
    program = "import sys; from pathlib import Path; from pancode.store.ledger import SqlLedger; "
    program += "from pancode.app.schema import SCHEMA; "
    program += "SqlLedger(Path(sys.argv[1]), SCHEMA).close(); print(*sys.modules)"
    told = subprocess.check_output([sys.executable, "-c", program, str(path)], cwd=ROOT, text=True).split()
    assert "sqlalchemy" in told
    assert {"alembic", "mako", "pygments", "sqlalchemy.dialects.postgresql"}.isdisjoint(told)


def test_two_openings_at_once_make_one_schema(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.integration.store.test_sql_ledger import keep; "
    )
    program += "keep(Path(sys.argv[1]), sys.argv[2])"
    commands = [[sys.executable, "-c", program, str(path), f"s{number}"] for number in range(3)]
    started = [subprocess.Popen(command, cwd=ROOT) for command in commands]
    assert [process.wait() for process in started] == [0, 0, 0]
    ledger = SqlLedger(path, SCHEMA)
    assert all(setting(ledger, f"s{number}") for number in range(3))
    ledger.close()


def test_what_is_read_is_what_the_database_holds(path: Path) -> None:
    """What another connection wrote, and what was rolled back, is seen at the next look."""
    ledger = SqlLedger(path, SCHEMA)
    with ledger.transaction() as tx:
        tx.put(Setting("epoch", 1, 1, "ana"))
    assert setting(ledger) == setting(ledger) == Setting("epoch", 1, 1, "ana")
    with pytest.raises(ZeroDivisionError), ledger.transaction() as tx:
        tx.put(Setting("epoch", 2, 2, "ana"))
        assert tx.get(Setting, "epoch") == Setting("epoch", 2, 2, "ana")
        assert tx.find(Setting) == [Setting("epoch", 2, 2, "ana")]
        raise ZeroDivisionError
    assert setting(ledger) == Setting("epoch", 1, 1, "ana")
    stranger = sqlite3.connect(path)
    stranger.execute("UPDATE settings SET changed_by = 'stranger'")
    stranger.commit()
    stranger.close()
    assert setting(ledger) == Setting("epoch", 1, 1, "stranger")
    with ledger.transaction() as tx:
        tx.delete(Setting, "epoch")
        assert tx.get(Setting, "epoch") is None and tx.find(Setting) == []
    ledger.close()


def test_what_was_not_there_is_found_when_it_is(path: Path) -> None:
    """Whoever made it: we, another connection, or we in a transaction that was rolled back."""
    ledger = SqlLedger(path, SCHEMA)
    with ledger.transaction() as tx:
        assert tx.get(Setting, "epoch") is None
    with pytest.raises(ZeroDivisionError), ledger.transaction() as tx:
        tx.insert(Setting("epoch", 2, 2, "ana"))
        assert tx.get(Setting, "epoch") == Setting("epoch", 2, 2, "ana")
        raise ZeroDivisionError
    assert setting(ledger) is None
    other = SqlLedger(path, SCHEMA)
    with other.transaction() as tx:
        assert tx.get(Setting, "epoch") is None
        tx.put(Setting("epoch", 3, 3, "bob"))
        assert tx.get(Setting, "epoch") == Setting("epoch", 3, 3, "bob")
    other.close()
    assert setting(ledger) == Setting("epoch", 3, 3, "bob")
    with ledger.transaction() as tx:
        tx.delete(Setting, "epoch")
        assert tx.get(Setting, "epoch") is None
        tx.insert(Setting("epoch", 4, 4, "ana"))
    assert setting(ledger) == Setting("epoch", 4, 4, "ana")
    ledger.close()


def test_a_change_is_read_as_the_database_gives_it_back(path: Path) -> None:
    """Also where two values are equal and are not spelt alike."""
    ledger = SqlLedger(path, SCHEMA)
    first = Attempt("r-0001", 1, 5, Decimal("1.0"), usage={"a": 1, "b": [1]})
    with ledger.transaction() as tx:
        tx.insert(first)
        assert tx.get(Attempt, "r-0001", 1) == first
    changes: list[dict[str, Any]] = [
        {"reserved_usd": Decimal("1.00")},
        {"usage": {"a": True, "b": (1,)}},
        {"outcome": Outcome.DONE, "failure": FailureKind.NODE_LOST, "finished_ms": 9},
        {"outcome": None, "failure": None, "reason": Outcome.LOST},
        {},
    ]
    for change in changes:
        with ledger.transaction() as tx:
            found = tx.get(Attempt, "r-0001", 1)
            assert found is not None
            tx.put(replace(found, **change))
            told = tx.get(Attempt, "r-0001", 1)
        other = SqlLedger(path, SCHEMA)
        with other.transaction() as tx:
            read = tx.get(Attempt, "r-0001", 1)
        other.close()
        assert repr(told) == repr(read), change
    with ledger.transaction() as tx:
        read = tx.get(Attempt, "r-0001", 1)
    assert read is not None and (read.finished_ms, read.usage) == (9, {"a": True, "b": [1]})
    ledger.close()
