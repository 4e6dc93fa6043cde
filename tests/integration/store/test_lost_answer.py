"""A connection that is lost at any point of a transaction: what was done is known, once and not twice."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from pancode.app.schema import SCHEMA
from pancode.kernel.errors import UnavailableError
from pancode.kernel.records import Balance, BookEntry, EntryKind
from pancode.store.ledger import SqlLedger
from pancode.store.postgres import Database, database_of
from tests.contract.postgres_server import PASSWORD, Postgres
from tests.integration.store.cutting import Cut, Wire

SCOPE = "day:1"


@pytest.fixture
def database(postgres: Postgres) -> Database:
    return postgres.database()


@pytest.fixture
def wire(postgres: Postgres) -> Iterator[Wire]:
    made = Wire(f"{postgres.folder}/.s.PGSQL.{postgres.port}")
    yield made
    made.close()


@pytest.fixture
def ledger(database: Database, wire: Wire) -> Iterator[SqlLedger]:
    """Through the wire; the server takes who comes there for one of its own socket."""
    password = PASSWORD.replace("/", "%2F")
    url = f"postgresql://pancode:{password}@127.0.0.1:{wire.port}/{database.url.database}?sslmode=disable"
    opened = SqlLedger(database_of(url + "&gssencmode=disable"), SCHEMA, busy_ms=2_000)
    yield opened
    opened.close()


def spend(ledger: SqlLedger, number: int) -> None:
    """As a hold does: an entry, and the balance that is its sum."""
    with ledger.transaction() as tx:
        balance = tx.get(Balance, SCOPE) or Balance(SCOPE)
        tx.insert(BookEntry(f"e{number:03}", 1, SCOPE, EntryKind.SPEND, "r-1", 1, 1, Decimal(1)))
        tx.put(Balance(SCOPE, balance.spent_usd + 1))


def kept(ledger: SqlLedger) -> tuple[int, Decimal]:
    with ledger.transaction() as tx:
        balance = tx.get(Balance, SCOPE) or Balance(SCOPE)
        return len(tx.find(BookEntry)), balance.spent_usd


def test_a_commit_whose_answer_is_lost_is_known_to_be_made(ledger: SqlLedger, wire: Wire) -> None:
    spend(ledger, 1)
    for number in (2, 3):
        wire.next = Cut.AFTER
        spend(ledger, number)
        assert kept(ledger) == (number, Decimal(number))
    assert wire.cuts == 2


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
def test_what_was_only_read_needs_no_answer(ledger: SqlLedger, wire: Wire, cut: Cut) -> None:
    spend(ledger, 1)
    wire.next = cut
    assert kept(ledger) == (1, Decimal(1))
    assert wire.cuts == 1 and kept(ledger) == (1, Decimal(1))


def test_a_commit_that_is_lost_on_its_way_is_known_not_to_be_made(ledger: SqlLedger, wire: Wire) -> None:
    spend(ledger, 1)
    for _ in range(2):
        wire.next = Cut.BEFORE
        with pytest.raises(UnavailableError, match="ended our session"):
            spend(ledger, 2)
        assert kept(ledger) == (1, Decimal(1))
    spend(ledger, 2)
    assert wire.cuts == 2 and kept(ledger) == (2, Decimal(2))


@pytest.mark.parametrize("point", ["begun", "read", "inserted", "put"])
def test_a_session_that_is_ended_at_any_point_leaves_nothing(
    ledger: SqlLedger, database: Database, postgres: Postgres, point: str
) -> None:
    spend(ledger, 1)

    def end(here: str) -> None:
        if here == point:
            name = database.url.database
            postgres.do(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")

    with pytest.raises(UnavailableError) as caught, ledger.transaction() as tx:
        end("begun")
        tx.find(BookEntry)
        end("read")
        tx.insert(BookEntry("e002", 1, SCOPE, EntryKind.SPEND, "r-1", 1, 1, Decimal(1)))
        end("inserted")
        tx.put(Balance(SCOPE, Decimal(2)))
        end("put")
    assert caught.value.code == "ledger_away"
    assert kept(ledger) == (1, Decimal(1))
    spend(ledger, 2)
    assert kept(ledger) == (2, Decimal(2))
