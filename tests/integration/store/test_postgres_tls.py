"""PostgreSQL by TLS, and a password that is changed: what counts, and what is said when it will not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock
from pancode.app.doctor import run_checks
from pancode.app.schema import SCHEMA
from pancode.kernel.errors import ConfigError, PancodeError
from pancode.kernel.records import Setting
from pancode.queue.valkey.process import wait_until
from pancode.store.ledger import SqlLedger
from pancode.store.postgres import database_of
from tests.contract.certificates import Authority, Pair
from tests.contract.postgres_server import PASSWORD, Postgres, running
from tests.crowd import crowded

PLACE = "/h/pancode.yaml:3"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def here(authority: Authority) -> Pair:
    return authority.issue("here", "localhost")


@pytest.fixture(scope="module")
def server(authority: Authority, here: Pair) -> Iterator[Postgres]:
    with running() as made:
        made.do("create database secure")
        made.show(here, authority.ca)
        yield made


def address(server: Postgres, ca: Path, host: str = "localhost", user: str = "pancode") -> str:
    login = f"{user}:{PASSWORD.replace('/', '%2F')}"
    return f"postgresql://{login}@{host}:{server.port}/secure?sslmode=verify-full&sslrootcert={ca}"


def refused(text: str, password_file: str | None = None) -> PancodeError:
    with pytest.raises(PancodeError) as caught:
        SqlLedger(database_of(text, PLACE, password_file), SCHEMA)
    told = f"{caught.value} {caught.value.why} {caught.value.fix}"
    assert PASSWORD not in told and PASSWORD.partition("/")[0] not in told
    return caught.value


def test_everything_goes_by_tls(server: Postgres, authority: Authority) -> None:
    ledger = SqlLedger(database_of(address(server, authority.ca)), SCHEMA)
    with ledger.transaction() as tx:
        tx.put(Setting("epoch", 1, 1, "ana"))
    sessions = server.do(
        "select s.version from pg_stat_ssl s join pg_stat_activity a using (pid) where a.datname = 'secure'"
    )
    assert sessions.splitlines() == ["TLSv1.3"]
    ledger.close()


def test_a_host_that_the_certificate_does_not_name(server: Postgres, authority: Authority) -> None:
    error = refused(address(server, authority.ca, "127.0.0.1"))
    assert PLACE in error.fix and error.code == "ledger_tls" and "does not match host name" in error.why
    assert "openssl s_client -starttls postgres" in error.fix and "psql" in error.fix


def test_an_authority_that_we_do_not_know(server: Postgres, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "other")
    error = refused(address(server, other.ca))
    assert error.code == "ledger_tls" and "certificate verify failed" in error.why
    error = refused(address(server, tmp_path / "nothing.pem"))
    assert error.code == "ledger_tls" and "nothing.pem" in error.why


def test_a_certificate_that_has_expired_and_is_renewed(authority: Authority, here: Pair) -> None:
    with running() as made:
        made.do("create database secure")
        made.show(authority.issue("old", "localhost", days_ago=60), authority.ca)
        url = address(made, authority.ca)
        limit_ms = int(10_000 * crowded())  # the server reads its settings when it comes to it
        assert wait_until(SystemClock(), limit_ms, lambda: refused(url).code == "ledger_tls")
        made.show(here, authority.ca)
        assert wait_until(SystemClock(), limit_ms, lambda: _opens(url))


def _opens(url: str) -> bool:
    try:
        SqlLedger(database_of(url, PLACE), SCHEMA).close()
    except ConfigError:
        return False
    return True


def test_a_password_that_is_changed_while_we_run(
    server: Postgres, authority: Authority, tmp_path: Path
) -> None:
    """The session that is there continues; a new one is refused in one clear line until the file is right."""
    server.do("create role app login password 'one'", "create database apps owner app")
    secret = tmp_path / "password"
    secret.write_text("one\n")
    url = f"postgresql://app@localhost:{server.port}/apps?sslmode=verify-full&sslrootcert={authority.ca}"
    ledger = SqlLedger(database_of(url, PLACE, str(secret)), SCHEMA)
    server.do("alter role app password 'two'")
    with ledger.transaction() as tx:
        tx.put(Setting("epoch", 1, 1, "ana"))
    server.do("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'apps'")
    with pytest.raises(PancodeError), ledger.transaction() as tx:
        tx.find(Setting)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught, ledger.transaction():
            pass
        assert caught.value.code == "ledger_password" and "psql" in caught.value.fix
        assert str(secret) in caught.value.fix and PLACE in caught.value.fix
        assert "one" not in caught.value.why.split()
    secret.write_text("two\n")
    with ledger.transaction() as tx:
        assert tx.get(Setting, "epoch") == Setting("epoch", 1, 1, "ana")
    ledger.close()
    secret.unlink()
    error = refused(url, str(secret))
    assert error.code == "ledger_password" and str(secret) in str(error)


def test_doctor_tries_it_as_it_is_configured(server: Postgres, authority: Authority, tmp_path: Path) -> None:
    server.do("create role seen login password 'three'", "create database seen owner seen")
    secret = tmp_path / "password"
    secret.write_text("three")
    environ = {
        "PANCODE_DATABASE_URL": address(server, authority.ca).replace(
            f"pancode:{PASSWORD.replace('/', '%2F')}", "seen"
        ),
        "PANCODE_DATABASE_PASSWORD_FILE": str(secret),
    }
    environ["PANCODE_DATABASE_URL"] = environ["PANCODE_DATABASE_URL"].replace("/secure?", "/seen?")
    (check,) = [c for c in run_checks(tmp_path, environ) if c["what"] == "ledger"]
    assert check["ok"], check
    secret.write_text("wrong")
    (check,) = [c for c in run_checks(tmp_path, environ) if c["what"] == "ledger"]
    assert not check["ok"] and "refused our user or password" in check["detail"]
    assert str(secret) in check["fix"]
