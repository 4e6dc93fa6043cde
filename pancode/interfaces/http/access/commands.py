"""`pancode token`: who may use the API over TCP: make a token, list all, revoke one."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Argument

from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import find_user
from pancode.interfaces.cli.parameters import Json, duration, many, option
from pancode.interfaces.cli.terminal import Columns, escape_line, format_rows, short_time
from pancode.interfaces.http.access.answers import CREATE_TOKEN, REVOKE_TOKEN, TOKENS, MadeTokenShape

app = Commands()
SCOPES = ("read", "answer", "dispatch", "operate", "budget", "admin")
NEVER = "never"


def lasting(text: str) -> int | str:
    """Milliseconds, or `never`."""
    return NEVER if text.strip() == NEVER else duration(text)


def scope(name: str) -> str:
    if name not in SCOPES:
        raise typer.BadParameter(f"scope {name!r} not found; there are {', '.join(SCOPES)}")
    return name


@app.group("token", "pancode token ls", default="ls")
def token() -> None:
    """Tokens let scripts and browsers use the API over TCP (setting api.listen), each within its scopes."""


@token.verb(
    "create",
    "pancode token create grafana --scope read",
    "pancode token create phone --scope answer --scope dispatch --expires 7d",
)
def create(
    name: Annotated[str, Argument(help="What it is called in the audit.")],
    *,
    scopes: Annotated[
        list[str],
        many(
            "read, answer, dispatch, operate, budget or admin; each allows to read.",
            "--scope",
            "SCOPE",
            parser=scope,
        ),
    ],
    expires: Annotated[
        Any,
        option(
            "The token expires after this time: 12h, 30d, or never.", "--expires", "DURATION", parser=lasting
        ),
    ] = "30d",
    item: Annotated[
        str | None, option("The token may only answer this item (inbox id or run).", "--item", "RUN")
    ] = None,
    face: Json,
) -> None:
    """Make a token. Its secret is shown now and never again; send it as `Authorization: Bearer SECRET`."""
    lasts = lasting(expires) if isinstance(expires, str) else expires
    body = {"by": find_user(), "name": name, "lasts_ms": None if lasts == NEVER else lasts, "item": item}
    if scopes:
        body["scopes"] = scopes
    made = face.client().post(CREATE_TOKEN, body)
    face.show(made, lambda: _made(made))


def _made(made: MadeTokenShape) -> str:
    until = short_time(made["expires_at"]) if made["expires_at"] else "it is revoked"
    what = f"only to answer {made['run']}" if made["item"] else ", ".join(made["scopes"])
    return f"{made['token']}\n{escape_line(made['name'])}: {what}; until {until}. It is not shown again.\n"


@token.verb("ls", "pancode token ls")
def ls(face: Json) -> None:
    """Every token, with what it allows, its end and its last use. Secrets are kept nowhere."""
    answer = face.client().get(TOKENS)
    none = "no token; make one: pancode token create NAME --scope read"
    face.show(answer, lambda: format_rows(answer["tokens"], _COLUMNS, none))


_COLUMNS: Columns = {
    "NAME": "name",
    "SCOPES": lambda row: f"item of {row['run']}" if row["item"] else ",".join(row["scopes"]),
    "EXPIRES (UTC)": lambda row: short_time(row["expires_at"]) if row["expires_at"] else "never",
    "LAST USE (UTC)": lambda row: short_time(row["used_at"]) if row["used_at"] else "never",
    "BY": "created_by",
}


@token.verb("revoke", "pancode token revoke grafana")
def revoke(name: Annotated[str, Argument(help="As `pancode token ls` shows it.")], face: Json) -> None:
    """Revoke a token: it opens nothing from now on, its streams end, and the schedules it made are paused.

    Runs and workflows that it has begun go on, and are named.
    """
    answer = face.client().post(REVOKE_TOKEN.at(name), {"by": find_user()})
    face.show(answer, lambda: _revoked(name, answer["paused"], answer["left"]))


def _revoked(name: str, paused: list[str], left: list[str]) -> str:
    note = f"paused, as it made them: {', '.join(map(escape_line, paused))}\n" if paused else ""
    if left:
        note += (
            f"go on, as it has begun them: {', '.join(left)}; pancode runs stop RUN, workflow stop WORKFLOW\n"
        )
    return f"{escape_line(name)} is revoked\n{note}"
