"""`pancode admin redis`: shows how to set up your own Redis or Valkey for a fleet."""

from __future__ import annotations

from typing import Annotated

from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.parameters import Json, option


@verb(
    "admin redis",
    "pancode admin redis --password-file ~/redis/password > ~/redis/users.acl",
    "pancode admin redis --password-file ~/redis/password --known users.acl",
)
def print_users(
    password_file: Annotated[str, option("The file with its password; - is standard input.", "FILE")],
    *,
    user: Annotated[str, option("The coordinator's user.")] = "pancode",
    known: Annotated[
        str | None, option("Keep the other users of this file; - is standard input.", "FILE")
    ] = None,
    face: Json,
) -> None:
    """Print the file of users (its setting aclfile) for a coordinator.

    The rights are those that PanCode gives its own server's coordinator. The password goes in as a digest,
    and the user who needs no login is closed.
    """
    from pancode.app.administration import users_file

    text = users_file(user, password_file, known)
    face.show({"users": text}, lambda: text)
