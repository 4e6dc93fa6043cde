"""This home's coordinator as a service: the environment that the service needs, and when it cannot exist."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pancode.config.variables import LOG, VARIABLES
from pancode.fleet.systemd.system_unit import SystemService
from pancode.fleet.systemd.unit import CoordinatorUnit
from pancode.fleet.systemd.user_unit import UserService

ARGV = (sys.executable, "-m", "pancode", "serve", "--child")


def kept_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the service needs: settings, and PATH to find git and ssh."""
    kept = {name: environ[name] for name in sorted((*VARIABLES, LOG)) if environ.get(name)}
    return {**kept, "PATH": environ["PATH"]} if "PATH" in environ else kept


def unit_of(root: Path, environ: Mapping[str, str], user: tuple[str, int] | None = None) -> CoordinatorUnit:
    """Return the home's unit. `user`: name and uid for a system unit, to reach that user's own manager."""
    kept = kept_of(environ)
    # otherwise a node agent on this machine would be a child of this process instead of its own service
    if user is not None:
        kept["XDG_RUNTIME_DIR"] = f"/run/user/{user[1]}"
    return CoordinatorUnit(root, ARGV, kept, user[0] if user else None)


def only_in_environ(urls: Sequence[str | None], environ: Mapping[str, str]) -> str:
    """Return why the coordinator cannot be a service: a password is only in variables and is never written.
    `urls`: of Redis and of the database; None: PanCode's own. Empty result: it can be a service."""
    from pancode.kernel.formatting import find_passwords

    redis_url, database_url = urls
    secret = [
        name
        for name, found in (
            ("Redis", find_passwords(redis_url or "")),
            ("database", database_url and (find_passwords(database_url) or "PGPASSWORD" in environ)),
        )
        if found
    ]
    return f"the password of its {' and '.join(secret)} is only in its environment" if secret else ""


def service_of(root: Path, urls: Sequence[str | None], environ: Mapping[str, str]) -> UserService:
    """Return the user's service for this home; settings from variables are written into the unit."""
    unit = unit_of(root, environ)
    home = Path(environ.get("HOME") or Path.home())
    return UserService(unit, home, environ, only_in_environ(urls, environ), SystemService(unit).is_there)
