"""Envelopes in both databases: compressed in a row, as signed in a record; of before, and damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from node_agent.wire.signing import SigningKey, WireRefusal, parse_envelope
from pancode.app.schema import SCHEMA
from pancode.kernel.records import Lease, StoredReceipt
from pancode.store.ledger import BUSY_MS, SqlLedger, open_engine
from pancode.store.move import Where, move
from pancode.store.postgres import Database
from tests.contract.postgres_server import Postgres

NODE = SigningKey(b"n" * 32)
JOB = NODE.sign("application/vnd.pancode.order+json", b'{"task":"' + b"naive" * 80 + b'"}').model_dump_json()
LONG = NODE.sign("application/vnd.in-toto+json", b'{"answer":"' + b"long" * 9_000 + b'"}').model_dump_json()
LEASE = Lease("r-1", 1, 1, "desk", "0123456789", JOB, "d", 1, 2, 3)
RECEIPT = StoredReceipt("d" * 64, "r-1", 1, 1, "0123456789", LONG, 9)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Where:
    if request.param == "sqlite":
        return tmp_path / "ledger.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.database()


@contextmanager
def past_the_ledger(where: Where) -> Iterator[Connection]:
    engine = open_engine(where, BUSY_MS, sole=False)[0]
    with engine.connect() as connection:
        yield connection
        connection.commit()
    engine.dispose()


def stored(where: Where) -> list[str]:
    """The texts in the rows."""
    with past_the_ledger(where) as connection:
        asked = (text('SELECT "order" FROM fences'), text("SELECT envelope FROM receipts"))
        return [str(connection.execute(one).scalar_one()) for one in asked]


def lay(where: Where, job: str, envelope: str) -> None:
    """Texts into the rows."""
    with past_the_ledger(where) as connection:
        connection.execute(text('UPDATE fences SET "order" = :text'), {"text": job})
        connection.execute(text("UPDATE receipts SET envelope = :text"), {"text": envelope})


def keep(where: Where) -> None:
    with closing(SqlLedger(where, SCHEMA)) as ledger, ledger.transaction() as tx:
        tx.put(LEASE)
        tx.insert(RECEIPT)


def read(where: Where) -> tuple[list[Lease], list[StoredReceipt]]:
    with closing(SqlLedger(where, SCHEMA)) as ledger, ledger.transaction() as tx:
        return tx.find(Lease), tx.find(StoredReceipt)


def test_what_was_signed_comes_back_and_its_row_is_small(where: Where) -> None:
    keep(where)
    assert read(where) == ([LEASE], [RECEIPT])
    for one, signed in zip(stored(where), (JOB, LONG), strict=True):
        assert one.startswith("zlib:") and len(one) < len(signed) * 0.6
    with closing(SqlLedger(where, SCHEMA)) as ledger, ledger.transaction() as tx:
        assert tx.get(Lease, "r-1", 1) == LEASE and tx.get(StoredReceipt, "d" * 64) == RECEIPT


def test_rows_of_before_are_read_and_written_on(where: Where) -> None:
    keep(where)
    lay(where, JOB, LONG)
    assert read(where) == ([LEASE], [RECEIPT]) and stored(where) == [JOB, LONG]
    keep_again = read(where)[0][0]
    with closing(SqlLedger(where, SCHEMA)) as ledger, ledger.transaction() as tx:
        tx.put(keep_again)
    assert stored(where)[0] != JOB and read(where)[0] == [LEASE]


def test_a_damaged_envelope_is_refused_like_a_forged_one(where: Where) -> None:
    """The other rows can still be read."""
    keep(where)
    job, envelope = stored(where)
    for damage in (lambda one: one[:-9], lambda one: one[:5], lambda one: f"{one[:60]}%{one[61:]}"):
        lay(where, damage(job), damage(envelope))
        (lease,), (receipt,) = read(where)
        for words in (lease.job, receipt.envelope):
            with pytest.raises(WireRefusal, match="not an envelope"):
                parse_envelope(words)


def test_both_forms_move_between_databases(tmp_path: Path, postgres: Postgres) -> None:
    path, database = tmp_path / "ledger.db", postgres.database()
    assert isinstance(database, Database)
    keep(path)
    packed = stored(path)[0]
    lay(path, packed, LONG)
    move(path, database, SCHEMA, 5)
    assert stored(database) == [packed, LONG] and read(database) == ([LEASE], [RECEIPT])
