"""Debian's PostgreSQL as a unit of a host whose PID 1 is systemd."""

from __future__ import annotations

from tests.lab import Lab

PASSWORD = "s3cret-of-the-ledger"
FOLDER = "/home/pg"
_START = f"""
set -e
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
install -d -o nobody -g nogroup {FOLDER}
printf %s '{PASSWORD}' > {FOLDER}/pw; chown nobody {FOLDER}/pw
cd {FOLDER}
setpriv --reuid=nobody --regid=nogroup --clear-groups $bin/initdb --auth-local=trust \\
  --auth-host=scram-sha-256 --username=pancode --no-sync --encoding=UTF8 --locale=C \\
  --pwfile={FOLDER}/pw -D {FOLDER}/d >&2
systemd-run --quiet --unit=lab-postgres -p User=nobody -p Group=nogroup -p Type=notify \\
  $bin/postgres -D {FOLDER}/d -c unix_socket_directories={FOLDER} -c listen_addresses=127.0.0.1 -c fsync=off
"""
"""`systemd-run` comes back when the server is ready."""


def serve(lab: Lab, k: int, *databases: str) -> None:
    """A server with these empty databases on host k; by TCP it wants the password."""
    done = lab.run(k, _START)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in databases:
        ask(lab, k, f"create database {name}", "postgres")


def ask(lab: Lab, k: int, statement: str, database: str) -> str:
    """What psql says, as the server's owner."""
    done = lab.run(k, f"psql -qAtX -h {FOLDER} -U pancode -d {database} -c '{statement}'")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
