"""`pancode admin redis`: prints the users' file for a Redis or Valkey server of your own."""

from __future__ import annotations

from typing import Annotated

from pancode.interfaces.cli.parameters import Json, option, verb


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
    from pancode.app.administration import users_file

    text = users_file(user, password_file, known)
    face.show({"users": text}, lambda: text)
