"""This home's coordinator as a user service: what of its environment it needs, and when it cannot be one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pancode.adapters.systemd.unit import CoordinatorUnit
from pancode.adapters.systemd.user_unit import UserService
from pancode.config.variables import VARIABLES


def service_of(root: Path, redis_url: str | None, environ: Mapping[str, str]) -> UserService:
    """Settings that are given by variables go into the unit; a password goes into no file of ours."""
    kept = {name: environ[name] for name in sorted(VARIABLES) if environ.get(name)}
    if "PATH" in environ:
        kept["PATH"] = environ["PATH"]  # where git and ssh are
    unit = CoordinatorUnit(root, (sys.executable, "-m", "pancode", "serve", "--child"), kept)
    secret = redis_url is not None and urlsplit(redis_url).password is not None
    never = "the password of its Redis is in its environment alone" if secret else ""
    return UserService(unit, Path(environ.get("HOME") or Path.home()), environ, never)
