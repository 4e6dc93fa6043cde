"""Finds out why a PostgreSQL's certificate is not believed: its library does not say, so we connect again."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from pancode.host.trusting import believing
from pancode.store.postgres import CONNECT_S, Database

_HELLO = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""PostgreSQL's way to ask for TLS; one letter is the answer."""
_PORT = 5432


def why_not_believed(database: Database) -> str:
    """OpenSSL's reason, as `certificate has expired`; empty when there is none."""
    host, port = _place(database)
    root = _parameter(database, "sslrootcert") or str(Path("~/.postgresql/root.crt").expanduser())
    try:
        context = believing(None if root == "system" else root)
        context.check_hostname = False  # whose it is the library says itself
        with socket.create_connection((host, port), CONNECT_S) as plain:
            plain.sendall(_HELLO)
            if plain.recv(1) == b"S":
                context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as exc:
        return exc.verify_message
    except (OSError, ValueError):
        return ""
    return ""


def look(database: Database) -> str:
    """The command that shows the server's certificate."""
    host, port = _place(database)
    show = "openssl x509 -noout -dates -issuer -ext subjectAltName"
    return f"openssl s_client -starttls postgres -connect {host}:{port} </dev/null | {show}"


def _place(database: Database) -> tuple[str, int]:
    host = database.url.host or _parameter(database, "host") or "localhost"
    return host, database.url.port or int(_parameter(database, "port") or _PORT)


def _parameter(database: Database, name: str) -> str:
    """One parameter after the question mark."""
    value = database.url.query.get(name, "")
    return value if isinstance(value, str) else value[0]
