"""Writes the users file that an external Redis needs: the coordinator's rights, and no password."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pancode.bus.rights import USER_PREFIX
from pancode.bus.valkey.users import users_text
from pancode.errors import ConfigError, UsageError

STDIN = "-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def users_file(user: str, password_file: str, known: str | None) -> str:
    """`known`: the file as it is now, `-` for standard input. UsageError, and ConfigError for a bad file."""
    if not _NAME.fullmatch(user) or user == "default" or user.startswith(USER_PREFIX):
        raise UsageError(
            f"{user!r} cannot be the coordinator's user",
            why=f"letters, digits, - _ and . alone; default and {USER_PREFIX}... are others'",
            fix="such as: --user pancode",
        )
    password = _read(password_file, "--password-file").rstrip("\r\n")
    if not password:
        raise ConfigError(f"{password_file} is empty", fix=f"openssl rand -hex 24 > {password_file}")
    return users_text("" if known is None else _read(known, "--known"), user, password)


def _read(path: str, option: str) -> str:
    try:
        return sys.stdin.read() if path == STDIN else Path(path).expanduser().read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{option} {path} cannot be read", why=str(error), fix="name another file"
        ) from error
