"""`pancode admin tokens`: makes, lists and revokes tokens for the API over TCP."""

from __future__ import annotations

from typing import Annotated, Any

import click
from typer import Argument

from pancode.interfaces.cli.parameters import Face, Json, find_user, many, option, parse_duration, verb
from pancode.interfaces.cli.terminal import Columns, escape_line, format_rows, short_time
from pancode.interfaces.http.access.answers import CREATE_TOKEN, REVOKE_TOKEN, TOKENS, MadeTokenShape
from pancode.kernel.errors import UsageError

SCOPES = ("read", "answer", "dispatch", "operate", "budget", "admin")
NEVER = "never"


def parse_lifetime(text: str) -> int | str:
    """Parse a duration into milliseconds, or return `never`."""
    return NEVER if text.strip() == NEVER else parse_duration(text)


_SCOPES = "read, answer, dispatch, operate, budget or admin; each also allows reading."
_EXPIRES = "The token expires after this time: 12h, 30d, or never."


@verb(
    "admin tokens",
    "",
    "--create grafana --allow read",
    "--create phone --allow answer --allow dispatch --expires 7d",
    "--revoke grafana",
)
def tokens(
    *,
    name: Annotated[str | None, Argument(help="The token's name in the audit log.")] = None,
    creates: Annotated[bool, option("Make a token with this NAME.", "--create")] = False,
    revokes: Annotated[bool, option("Revoke the token with this NAME.", "--revoke")] = False,
    scopes: Annotated[list[str], many(_SCOPES, "--allow", "SCOPE", click_type=click.Choice(SCOPES))],
    expires: Annotated[Any, option(_EXPIRES, "DURATION", parser=parse_lifetime)] = "30d",
    item: Annotated[
        str | None, option("The token may only answer this item (inbox ID or run).", "RUN")
    ] = None,
    face: Json,
) -> None:
    """List the tokens for the API over TCP (setting api.listen): permissions, expiry and last use.

    A new token's secret is shown once and not stored; send it as `Authorization: Bearer SECRET`. A revoked
    token is blocked at once, its streams end, the schedules that it created are paused, and the pull requests
    that it follows are not followed any more. Runs that it started continue, and are listed; steps of
    workflows, lane items and landings that have not begun are refused.
    """
    if creates + revokes != (name is not None):
        fix = "pancode admin tokens --create NAME --allow read"
        raise UsageError("give NAME together with either --create or --revoke", fix=fix)
    if name is None:
        answer = face.get(TOKENS)
        none = "no tokens; make one: pancode admin tokens --create NAME --allow read"
        return face.show(answer, lambda: format_rows(answer["tokens"], _COLUMNS, none))
    if revokes:
        return revoke_token(face, name)
    lasts = parse_lifetime(expires) if isinstance(expires, str) else expires
    body = {"by": find_user(), "name": name, "lasts_ms": None if lasts == NEVER else lasts, "item": item}
    if scopes:
        body["scopes"] = scopes
    return face.show_result(face.client().post(CREATE_TOKEN, body), _format_token)


def revoke_token(face: Face, name: str) -> None:
    """Revoke a token, or a browser's session, and print what it leaves."""
    gone = face.post(REVOKE_TOKEN.at(name))
    text, paused, left = f"{escape_line(name)} is revoked\n", gone["paused"], gone["left"]
    if gone["ended"]:
        text += f"ended with it, because it made them: {escape_line(', '.join(gone['ended']))}\n"
    if paused:
        text += f"paused, because the token created or followed it: {escape_line(', '.join(paused))}\n"
    if left:
        text += f"still running, started with the token: {', '.join(left)}; to stop: pancode stop RUN\n"
    face.show(gone, lambda: text)


def _format_token(made: MadeTokenShape) -> str:
    until = short_time(made["expires_at"]) if made["expires_at"] else "until it is revoked"
    what = f"may only answer {made['run']}" if made["item"] else ", ".join(made["scopes"])
    return (
        f"{made['token']}\n{escape_line(made['name'])}: {what}; valid until {until}. The token is not shown "
        "again.\n"
    )


_COLUMNS: Columns = {
    "NAME": "name",
    "SCOPES": lambda row: f"item of {row['run']}" if row["item"] else ",".join(row["scopes"]),
    "EXPIRES (UTC)": lambda row: short_time(row["expires_at"]) if row["expires_at"] else "never",
    "LAST USE (UTC)": lambda row: short_time(row["used_at"]) if row["used_at"] else "never",
    "BY": "created_by",
}
