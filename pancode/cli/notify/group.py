"""`pancode notify`: the channels of notices to people, and a test of each."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated, Any

from typer import Argument

from pancode.cli.face import Face, who
from pancode.cli.notify.words import Newest, awaited, show_deliveries
from pancode.cli.output.render import safe, short_time
from pancode.cli.output.tables import table
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json
from pancode.connection import home_of
from pancode.errors import UsageError

app = Commands()
Channel = Annotated[str, Argument(metavar="CHANNEL")]


@app.group("notify", "pancode notify ls", "pancode notify test phone", default="ls")
def notify() -> None:
    """Notices to people by ntfy, mail, Slack and other services of Apprise; channels are in pancode.yaml."""


@notify.verb("ls", "pancode notify ls")
def ls(face: Json) -> None:
    """Every channel with the kinds of notices that it gets, and how its last message ended."""
    answer = face.client().get("/v1/notify")
    rows = [
        (
            one["channel"],
            "failing" if one["trouble"] else "ok" if one["last_sent_at"] else "not tried yet",
            ", ".join(one["kinds"]),
            one["waiting"],
            short_time(one["last_sent_at"]),
            safe(one["trouble"]),
        )
        for one in answer["channels"]
    ]
    head = ("CHANNEL", "STATE", "TOLD OF", "WAITING", "LAST SENT", "WHY")
    none = "no channel; add one to pancode.yaml: notify: {channels: {phone: {url: secret:phone}}}\n"
    unknown = [f"a rule of notices names the unknown channel {safe(n)}\n" for n in answer["unknown_channels"]]
    face.show(answer, lambda: (table(head, rows, toned=("STATE",)) if rows else none) + "".join(unknown))


@notify.verb("test", "pancode notify test phone")
def test(channel: Channel, face: Json) -> int:
    """Send a notice now, also in quiet hours, and say what came of it."""
    client = face.client()
    made = client.post("/v1/notify/test", {"by": who(), "channel": channel})
    return awaited(face, client, made)


@notify.verb("log", "pancode notify log phone")
def log(
    channel: Channel,
    *,
    number: Newest = 20,
    face: Json,
) -> None:
    """What was sent to a channel, newest first."""
    show_deliveries(face, f"notify:{channel}", number)


@notify.verb("secret", "pancode notify secret phone < address.txt")
def secret(name: Annotated[str, Argument(metavar="NAME")], face: Json) -> None:
    """Keep the address of a channel, in Apprise's words: from standard input, or from a hidden prompt.

    It is a file in PANCODE_HOME/secrets that only you can read; pancode.yaml names it as secret:NAME.
    The token of a forge is kept in the same way.
    """
    from pancode.offline.login import keep_here

    home = home_of(os.environ)  # before anybody types a secret where it cannot be kept
    value = _value(face, name)
    keep_here(home, name, value)
    if "://" not in value:
        face.note(f"no channel can use {name}: it is a token, and an address begins as in ntfy://")
    answer: dict[str, Any] = {"secret": name}
    channel = f"notify: {{channels: {{{name}: {{url: secret:{name}}}}}}}"
    forge = f"forge: {{HOST: {{token: secret:{name}}}}}"
    such = f"an address in {channel}, a forge's token in {forge}"
    face.show(answer, lambda: f"kept; pancode.yaml names it as secret:{name}: {such}\n")


def _value(face: Face, name: str) -> str:
    text = getpass.getpass(f"address or token for {name}: ") if face.can_ask() else sys.stdin.read(20_000)
    if len(text.split()) != 1:
        raise UsageError(
            "the address or token is one line without blanks",
            fix=f"echo ADDRESS | pancode notify secret {name}",
        )
    return text.strip()
