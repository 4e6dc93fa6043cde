"""The ledger in a real PostgreSQL: one writer, no lost dollar, a server that comes back, errors in words."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.signing import SigningKey
from pancode.app.doctor import run_checks
from pancode.app.fleet_identity import LedgerLostError, fleet_id, own_key
from pancode.app.schema import SCHEMA
from pancode.fleet.answers import HomeCheck
from pancode.fleet.ssh.home import Home
from pancode.kernel.errors import ConfigError, ConflictError, PancodeError, UnavailableError
from pancode.kernel.records import Balance, Setting
from pancode.store import postgres as postgres_module
from pancode.store.ledger import SqlLedger
from pancode.store.migration import Revisions
from pancode.store.migrations import HEAD
from pancode.store.migrations.script import SHIPPED
from pancode.store.postgres import Database, database_of, engine_of
from pancode.store.postgres_inspection import look_there
from pancode.store.sqlite import engine_for, sqlite_url
from tests.contract.postgres_server import PASSWORD, Postgres, running
from tests.crowd import crowded

SCOPE = "day:1"
SPENDER = Path(__file__).with_name("spender.py")


@pytest.fixture
def database(postgres: Postgres) -> Database:
    return postgres.database()


@pytest.fixture
def ledger(database: Database) -> Iterator[SqlLedger]:
    opened = SqlLedger(database, SCHEMA)
    yield opened
    opened.close()


def refused(where: Database | Callable[[], Database], **options: object) -> PancodeError:
    with pytest.raises(PancodeError) as caught:
        SqlLedger(where if isinstance(where, Database) else where(), SCHEMA, **options)  # type: ignore[arg-type]
    told = f"{caught.value} {caught.value.why} {caught.value.fix}"
    assert PASSWORD not in told and "wrong-one" not in told and "%2F" not in caught.value.why
    return caught.value


def spent(ledger: SqlLedger) -> Decimal:
    with ledger.transaction() as tx:
        found = tx.get(Balance, SCOPE)
    return found.spent_usd if found is not None else Decimal(0)


# -- one source of the schema ---------------------------------------------------------------------


def test_the_migrations_make_the_tables_of_the_records_on_both(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    SqlLedger(path, SCHEMA, history=Revisions(HEAD, SHIPPED)).close()
    SqlLedger(database, SCHEMA, history=Revisions(HEAD, SHIPPED)).close()
    for engine in (engine_for(sqlite_url(path), 0), engine_of(database, 1_000, sole=False)):
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), SCHEMA.metadata) == []
        engine.dispose()


def test_a_new_database_is_what_the_revisions_make(postgres: Postgres) -> None:
    made, migrated = postgres.database(), postgres.database()
    SqlLedger(made, SCHEMA).close()
    SqlLedger(migrated, SCHEMA, history=Revisions(HEAD, SHIPPED)).close()
    assert schema(made) == schema(migrated)


def schema(database: Database) -> list[tuple[object, ...]]:
    columns = "SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default "
    columns += "FROM information_schema.columns WHERE table_schema = 'public'"
    engine = engine_of(database, 1_000, sole=False)
    with engine.connect() as connection:
        found = [
            tuple(row)
            for look in (columns, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'")
            for row in connection.exec_driver_sql(look)
        ]
    engine.dispose()
    return sorted(found, key=str)


# -- one writer -----------------------------------------------------------------------------------


def test_a_second_coordinator_is_told_who_has_the_ledger(ledger: SqlLedger, database: Database) -> None:
    error = refused(database, busy_ms=200)
    assert isinstance(error, UnavailableError) and error.code == "ledger_locked"
    assert postgres_module.our_name() in error.why and "pancode fleet down" in error.fix
    assert "pg_terminate_backend(" in error.fix
    SqlLedger(database, SCHEMA, sole=False).close()
    ledger.close()
    SqlLedger(database, SCHEMA, busy_ms=2_000).close()


@pytest.mark.slow
def test_two_processes_over_the_last_dollar(database: Database) -> None:
    """Each opens, looks, spends what is left, and lets go: as two starts of a coordinator would."""
    SqlLedger(database, SCHEMA).close()
    words = [sys.executable, str(SPENDER), database.url.render_as_string(hide_password=False), "15"]
    words[2] = words[2].replace("+psycopg", "")
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    bought = [int(child.communicate(timeout=120 * crowded())[0]) for child in both]
    assert [child.returncode for child in both] == [0, 0]
    ledger = SqlLedger(database, SCHEMA)
    assert sum(bought) == 15 == spent(ledger), bought
    ledger.close()


def test_without_the_right_to_write_no_dollar_is_spent_twice(ledger: SqlLedger, database: Database) -> None:
    """The server's own isolation is the second lock: what was overtaken is refused, not written over."""
    other = SqlLedger(database, SCHEMA, sole=False)
    read, written = threading.Event(), threading.Event()

    def overtake() -> None:
        read.wait(10 * crowded())
        with other.transaction() as tx:
            tx.put(Balance(SCOPE, Decimal(1)))
        written.set()

    thread = threading.Thread(target=overtake)
    thread.start()
    with pytest.raises(ConflictError, match="first"), ledger.transaction() as tx:
        assert tx.get(Balance, SCOPE) is None
        read.set()
        assert written.wait(10 * crowded())
        tx.put(Balance(SCOPE, Decimal(1)))
    thread.join(10 * crowded())
    other.close()
    assert spent(ledger) == 1


# -- a server that goes and comes -----------------------------------------------------------------


@pytest.mark.slow
def test_a_server_that_restarts_takes_nothing_with_it() -> None:
    with running() as server:
        database = server.database()
        ledger = SqlLedger(database, SCHEMA, busy_ms=500)
        with ledger.transaction() as tx:
            tx.put(Balance(SCOPE, Decimal(7)))
        with pytest.raises(UnavailableError) as caught, ledger.transaction() as tx:
            tx.put(Balance(SCOPE, Decimal(8)))
            server.stop()
            tx.get(Balance, SCOPE)
        assert caught.value.code == "ledger_away" and "ended our session" in str(caught.value)
        with pytest.raises(UnavailableError, match="cannot be reached") as caught, ledger.transaction():
            pass
        assert "psql" in caught.value.fix and caught.value.code == "ledger_away"
        server.start()
        assert spent(ledger) == 7, "what was not committed is not there"
        assert refused(database, busy_ms=200).code == "ledger_locked", "the new session took the right again"
        ledger.close()


def test_a_session_that_was_ended_by_hand_and_taken_over_by_another(
    ledger: SqlLedger, database: Database, postgres: Postgres
) -> None:
    postgres.do("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted")
    other = SqlLedger(database, SCHEMA)
    with pytest.raises(UnavailableError), ledger.transaction() as tx:
        tx.put(Balance(SCOPE, Decimal(1)))
    other.close()
    assert spent(ledger) == 0
    with ledger.transaction() as tx:
        tx.put(Balance(SCOPE, Decimal(2)))
    assert spent(ledger) == 2


def test_what_was_read_in_a_session_is_not_believed_in_the_next(
    ledger: SqlLedger, database: Database, postgres: Postgres
) -> None:
    with ledger.transaction() as tx:
        tx.put(Balance(SCOPE, Decimal(1)))
    assert spent(ledger) == 1
    postgres.do(
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database.url.database}'"
    )
    other = SqlLedger(database, SCHEMA)
    with other.transaction() as tx:
        tx.put(Balance(SCOPE, Decimal(5)))
    other.close()
    with pytest.raises(UnavailableError), ledger.transaction() as tx:
        tx.put(Balance(SCOPE, Decimal(2)))
    assert spent(ledger) == 5


def test_a_taken_key_is_named(ledger: SqlLedger) -> None:
    with ledger.transaction() as tx:
        tx.insert(Setting("a", 1, 1, "me"))
    with pytest.raises(ConflictError, match="settings a"), ledger.transaction() as tx:
        tx.insert(Setting("a", 2, 1, "me"))


def test_a_transaction_that_goes_on_after_an_error_is_not_committed(ledger: SqlLedger) -> None:
    """The server would roll it back and say nothing."""
    with pytest.raises(PancodeError, match="nothing was stored"), ledger.transaction() as tx:
        tx.put(Balance(SCOPE, Decimal(1)))
        with contextlib.suppress(DBAPIError):
            tx.put(Setting("a", 1, 2**70, "me"))
    assert spent(ledger) == 0


# -- what is wrong, in words ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mysql://u:wrong-one@h/d", "another kind"),
        ("postgresql://u:wrong-one@h", "not name a database"),
        ("postgresql://h:port/d", "cannot be parsed"),
        ("nonsense", "cannot be parsed"),
        ("postgresql://h/d?password=wrong-one", "in the part after the question mark"),
    ],
)
def test_an_address_that_is_none(text: str, why: str) -> None:
    error = refused(lambda: database_of(text, "pancode.yaml:3"))
    assert isinstance(error, ConfigError) and error.code == "ledger_url" and why in error.why
    assert "pancode.yaml:3" in str(error) and "postgresql://USER:PASSWORD@HOST" in error.fix


def test_each_thing_that_can_be_wrong_is_named_with_its_place_and_test(postgres: Postgres) -> None:
    postgres.do("create role weak login", "create database owned")
    wrong = {
        "ledger_password": postgres.by_tcp("owned", password="wrong-one"),
        "ledger_database": postgres.by_socket("nowhere"),
        "ledger_forbidden": postgres.by_socket("owned", user="weak"),
        "ledger_away": "postgresql://u:wrong-one@127.0.0.1:1/d",
        "ledger_tls": postgres.by_tcp("owned") + "?sslmode=require",
        "ledger_url": postgres.by_socket("owned") + "&nonsense=1",
    }
    for code, text in wrong.items():
        error = refused(database_of(text, "/h/pancode.yaml:3"))
        assert error.code == code, (code, error.code, error.why)
        kind = UnavailableError if code == "ledger_away" else ConfigError
        assert isinstance(error, kind) and "psql 'postgresql://" in error.fix
        assert "/h/pancode.yaml:3" in f"{error} {error.fix}", error.fix
    assert refused(database_of(postgres.by_socket("owned", user="nobody"))).code == "ledger_password"
    assert refused(database_of("postgresql://no.invalid/d")).code == "ledger_away"


def test_a_server_or_database_that_will_not_do(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.do("create database odd encoding 'LATIN1' template template0")
    error = refused(database_of(postgres.by_socket("odd")))
    assert error.code == "ledger_server" and "LATIN1" in error.why and "encoding" in error.fix
    monkeypatch.setattr(postgres_module, "OLDEST", 99)
    error = refused(postgres.database())
    assert error.code == "ledger_server" and "needs 99" in error.why


def test_a_server_that_takes_no_writes_or_no_session(postgres: Postgres) -> None:
    database = postgres.database()
    name = database.url.database
    SqlLedger(database, SCHEMA).close()
    postgres.do(f"alter database {name} set default_transaction_read_only = on")
    ledger = SqlLedger(database, SCHEMA)
    with pytest.raises(UnavailableError) as caught, ledger.transaction() as tx:
        tx.put(Balance(SCOPE))
    assert caught.value.code == "ledger_standby"
    ledger.close()
    postgres.do("create role other login", f"alter database {name} connection limit 0")
    error = refused(database_of(postgres.by_socket(str(name), user="other")))
    assert error.code == "ledger_away" and "connection" in str(error)


def test_without_the_driver_it_says_what_to_install(database: Database) -> None:
    """In a process that cannot import it."""
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pancode.store.ledger import SqlLedger\nfrom pancode.app.schema import SCHEMA\n"
        "from pancode.store.postgres import database_of\n"
        "from pancode.kernel.errors import ConfigError\n"
        "try: SqlLedger(database_of('postgresql://h/d'), SCHEMA)\n"
        "except ConfigError as error: sys.stdout.write(f'{error.code} {error.fix}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60 * crowded()
    )
    fix = f"{sys.executable} -m pip install 'psycopg[binary]>=3.2,<4'"
    assert done.stdout == f"ledger_driver {fix}", done.stderr


def test_where_the_ledger_is_a_file_nothing_of_the_driver_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from pancode.store.ledger import SqlLedger\nfrom pancode.app.schema import SCHEMA\n"
        "import pancode.app.build\n"
        "SqlLedger(Path(sys.argv[1]), SCHEMA).close()\n"
        "sys.stdout.write(str([n for n in sys.modules if n.startswith('psycopg')]))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "ledger.db")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60 * crowded())
    assert done.stdout == "[]", done.stdout + done.stderr


# -- home, key and ledger -------------------------------------------------------------------------


def test_a_ledger_belongs_to_one_key_and_an_emptied_one_is_a_lost_one(
    ledger: SqlLedger, database: Database, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    first = fleet_id(ledger, home, 1, SystemIds())
    assert fleet_id(ledger, home, 2, SystemIds()) == first
    mine, other = SigningKey(b"m" * 32), SigningKey(b"o" * 32)
    for now in (1, 2):
        assert own_key(ledger, home, database, mine, now).key is mine
    home.keep_key(other)
    with pytest.raises(ConfigError, match="another fleet") as caught:
        own_key(ledger, home, database, other, 3)
    assert caught.value.code == "ledger_of_another" and "PANCODE_HOME" in caught.value.fix
    with ledger.transaction() as tx:
        tx.delete(Setting, "fleet")
    home.epoch.write_text("3")
    with pytest.raises(LedgerLostError, match="is empty") as lost:
        fleet_id(ledger, home, 4, SystemIds())
    assert "dump" in lost.value.fix


# -- doctor ---------------------------------------------------------------------------------------


def doctors(home: Path, url: str) -> HomeCheck:
    (check,) = [c for c in run_checks(home, {"PANCODE_DATABASE_URL": url}) if c["what"] == "ledger"]
    assert PASSWORD not in json.dumps(check) and "s3cret" not in json.dumps(check)
    return check


def test_doctor_shows_engine_place_size_and_answer_time(postgres: Postgres, tmp_path: Path) -> None:
    postgres.do("create database seen")
    url = postgres.by_tcp("seen")
    empty = doctors(tmp_path, url)
    assert empty["ok"] and "will be set up at the first start" in empty["detail"]
    ledger = SqlLedger(database_of(url), SCHEMA)
    found = doctors(tmp_path, url)
    detail = found["detail"]
    assert found["ok"] and detail.startswith("PostgreSQL 1") and "(PANCODE_DATABASE_URL)" in detail
    assert " MiB, 0 runs" in detail and "answers in " in detail
    seen = look_there(database_of(url), SystemClock())
    assert seen.revision == HEAD and seen.size > 1 << 20
    ledger.close()
    away = doctors(tmp_path, "postgresql://u@127.0.0.1:1/d")
    assert not away["ok"] and "cannot be reached" in away["detail"] and "psql" in away["fix"]
    assert not doctors(tmp_path, "postgresql://u@h")["ok"]


def test_doctor_says_who_may_not_make_tables_and_what_its_administrator_does(
    postgres: Postgres, tmp_path: Path
) -> None:
    postgres.do("create role guest login", "create database others")
    found = doctors(tmp_path, postgres.by_socket("others", user="guest"))
    assert not found["ok"] and "lacks permissions" in found["detail"]
    assert "psql 'postgresql://postgres@/postgres" in found["fix"]
    assert """-c 'alter database "others" owner to "guest"'""" in found["fix"]
    missing = doctors(tmp_path, postgres.by_socket("never_made"))
    assert """-c 'create database "never_made" owner "pancode"'""" in missing["fix"]
