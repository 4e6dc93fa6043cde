"""Translates PostgreSQL errors into messages with a fix for the owner of the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from pancode.kernel.errors import ConfigError, ConflictError, PancodeError, UnavailableError
from pancode.store.postgres import Database

_PORT = 5432


def format_certificate_command(database: Database) -> str:
    """Return the shell command that shows the server's certificate."""
    query = {
        name: value if isinstance(value, str) else value[0] for name, value in database.url.query.items()
    }
    host = database.url.host or query.get("host") or "localhost"
    port = database.url.port or query.get("port") or _PORT
    show = "openssl x509 -noout -dates -issuer -ext subjectAltName"
    return f"openssl s_client -starttls postgres -connect {host}:{port} </dev/null | {show}"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """One kind of failure, recognized by its SQLSTATE or, for a failed connection, by the server's text."""

    states: tuple[str, ...]
    words: tuple[str, ...]
    kind: type[PancodeError]
    message: str
    fix: str
    code: str = ""


_TRY = "try: {probe}"
_VERDICTS = (
    _Verdict(
        ("53300",),
        ("too many clients", "connection slots", "too many connections"),
        UnavailableError,
        "the PostgreSQL at {place} has no free connections",
        "raise its max_connections, or end another session; PanCode tries again",
        "ledger_away",
    ),
    _Verdict(
        ("42501",),
        ("permission denied", "no pg_hba.conf entry"),
        ConfigError,
        "the PostgreSQL user at {place} lacks permissions",
        "make our user the owner of the database: {owner}; or correct {origin}; " + _TRY,
        "ledger_forbidden",
    ),
    _Verdict(
        ("28P", "28000"),
        ("password authentication failed", "no password supplied", "Peer authentication failed", 'role "'),
        ConfigError,
        "the PostgreSQL at {place} refused our user or password",
        "correct the user in {origin} and the password in {secret}; " + _TRY,
        "ledger_password",
    ),
    _Verdict(
        ("3D000",),
        ('database "',),
        ConfigError,
        "the database at {place} does not exist",
        "create it: {create}; or correct {origin}",
        "ledger_database",
    ),
    _Verdict(
        (),
        ("SSL", "certificate", "sslmode"),
        ConfigError,
        "cannot establish TLS with the PostgreSQL at {place}",
        "correct sslmode, sslrootcert and the host in {origin}; its certificate: {look}; " + _TRY,
        "ledger_tls",
    ),
    _Verdict(
        (),
        ("invalid connection option", "invalid dsn", "invalid port", "invalid integer value"),
        ConfigError,
        "{origin} is not the address of a PostgreSQL database",
        "correct {origin}; " + _TRY,
        "ledger_url",
    ),
    _Verdict(
        ("25006",),
        (),
        UnavailableError,
        "the PostgreSQL at {place} is read-only",
        "set {origin} to the primary server",
        "ledger_standby",
    ),
    _Verdict(
        ("53100",),
        (),
        UnavailableError,
        "the disk of the PostgreSQL at {place} is full",
        "free some space there, then try again: no partial data was written",
        "ledger_disk_full",
    ),
    _Verdict(
        ("55P03",),
        (),
        UnavailableError,
        "another session has locked a table of the ledger at {place}",
        "find the session: {locks}",
        "ledger_locked",
    ),
    _Verdict(
        ("XX001", "XX002"),
        (),
        UnavailableError,
        "the ledger at {place} is damaged",
        "restore a backup (docs/howto/postgresql.md); see the server's log for details",
        "ledger_damaged",
    ),
    _Verdict(
        ("40",), (), ConflictError, "another transaction changed the ledger at {place} first", "try again"
    ),
    _Verdict(
        ("57P", "08"),
        ("starting up", "shutting down", "terminating connection", "server closed", "consuming input"),
        UnavailableError,
        "the PostgreSQL at {place} ended our session",
        "wait, PanCode tries again; " + _TRY,
        "ledger_away",
    ),
)
_AWAY = _Verdict(
    (),
    (),
    UnavailableError,
    "the PostgreSQL at {place} cannot be reached",
    "check that it runs at the address in {origin}; " + _TRY,
    "ledger_away",
)
_OTHER = _Verdict(
    (), (), PancodeError, "the ledger at {place} refused a statement", "pancode doctor; " + _TRY
)
_LOCKS = "select pid, application_name, query from pg_stat_activity where datname = current_database()"


def explain_error(database: Database, error: BaseException | None) -> PancodeError:
    """Return the error for the ledger's owner; its `why` is the server's message without the password."""
    state = str(getattr(error, "sqlstate", None) or "")
    message = database.without_secret(str(error))
    verdict = _judge(state, message, type(error).__name__)
    name = str(database.url.database).replace('"', '""')
    user = str(database.url.username or "USER").replace('"', '""')
    known = {
        "place": database.place,
        "origin": database.origin,
        "secret": database.password_file or database.origin,
        "probe": database.probe(),
        "look": format_certificate_command(database),
        "create": database.by_administrator(f'create database "{name}" owner "{user}"'),
        "owner": database.by_administrator(f'alter database "{name}" owner to "{user}"'),
        "locks": database.probe(_LOCKS),
    }
    return verdict.kind(
        verdict.message.format(**known),
        why=f"{state}: {message}" if state else message,
        fix=verdict.fix.format(**known),
        code=verdict.code,
    )


def _judge(state: str, message: str, kind: str) -> _Verdict:
    """Return the kind of failure, by SQLSTATE if there is one, because the server's text may be localized."""
    for verdict in _VERDICTS:
        if state.startswith(verdict.states) if state else any(word in message for word in verdict.words):
            return verdict
    return _AWAY if not state and kind in ("OperationalError", "ConnectionTimeout") else _OTHER
