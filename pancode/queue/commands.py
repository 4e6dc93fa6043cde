"""`pancode admin redis`: prints the users' file for a Redis or Valkey server of your own."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

from pancode.interfaces.cli.parameters import Json, option, verb
from pancode.kernel.errors import ConfigError, UsageError
from pancode.queue.valkey.layout import USER_PREFIX, users_text


@verb(
    "admin redis",
    "--password-file ~/redis/password > ~/redis/users.acl",
    "--password-file ~/redis/password --known users.acl",
)
def print_users(
    password_file: Annotated[
        str, option("The file with the password of the coordinator's user; - is standard input.", "FILE")
    ],
    *,
    user: Annotated[str, option("The name of the coordinator's user.")] = "pancode",
    known: Annotated[
        str | None, option("Keep the other users of this users' file; - is standard input.", "FILE")
    ] = None,
    face: Json,
) -> None:
    """Print the users' file (Redis setting aclfile) for a coordinator.

    The coordinator's user gets the rights that it has on PanCode's own server. The file contains only a
    digest of the password, and the default user, which needs no login, is disabled.
    """
    text = users_file(user, password_file, known)
    face.show({"users": text}, lambda: text)


STDIN = "-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def users_file(user: str, password_file: str, known: str | None) -> str:
    """Return the Redis users file. `known`: the existing file, `-` for stdin. UsageError, ConfigError."""
    if not _NAME.fullmatch(user) or user == "default" or user.startswith(USER_PREFIX):
        raise UsageError(
            f"{user!r} is not a valid coordinator user",
            why=f"use only letters, digits, - _ and .; default and {USER_PREFIX}... are reserved",
            fix="for example: --user pancode",
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
            f"cannot read {option} {path}", why=str(error), fix="choose another file"
        ) from error
