"""`pancode redis`: what a Redis or Valkey of your own needs for a fleet."""

from __future__ import annotations

import click

from pancode.cli.face import Face, example, json_option
from pancode.cli.lazy import LazyGroup


@click.group("redis", cls=LazyGroup, epilog=example("pancode redis users --password-file ~/redis/password"))
def redis() -> None:
    """What your own Redis or Valkey needs; pancode doctor looks whether it will do."""


@redis.command(
    "users",
    epilog=example(
        "pancode redis users --password-file ~/redis/password > ~/redis/users.acl",
        "pancode redis users --password-file ~/redis/password --known users.acl",
    ),
)
@click.option("--user", default="pancode", show_default=True, help="The coordinator's user.")
@click.option(
    "--password-file", metavar="FILE", required=True, help="With its password; - is standard input."
)
@click.option(
    "--known", metavar="FILE", help="The file as it is now: its other users stay; - is standard input."
)
@json_option
def users(user: str, password_file: str, known: str | None, face: Face) -> None:
    """Print the server's file of users (its setting aclfile) for a coordinator.

    The rights are those that PanCode gives its own server's coordinator. The password goes in as a digest,
    and the user who needs no login is closed.
    """
    from pancode.offline.redis_users import users_file

    text = users_file(user, password_file, known)
    face.show({"users": text}, lambda: text)
