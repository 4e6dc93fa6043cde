"""`pancode notify` and `webhook`: notices to people, signed events for other programs."""

from __future__ import annotations

import getpass
import os
import sys
import time
from typing import Annotated, Any

from typer import Argument

from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import Face, who
from pancode.interfaces.cli.parameters import Json, many, option
from pancode.interfaces.cli.terminal import Columns, listing, safe
from pancode.interfaces.client.client import Client, home_of, path_of
from pancode.kernel.errors import ExitCode, UsageError

app = Commands()


PATIENCE, EVERY_S = 80, 0.5
Newest = Annotated[int, option("Show at most this many rows.", "-n", "--number", min=1, max=300)]


def awaited(face: Face, client: Client, made: dict[str, Any]) -> int:
    """Until its first try has ended; the exit status."""
    now = made
    for _ in range(PATIENCE):
        found = client.get("/v1/deliveries", target=made["target"], limit=50)["deliveries"]
        now = next((one for one in found if one["delivery"] == made["delivery"]), now)
        if now["state"] != "waiting" or now["tries"]:
            break
        time.sleep(EVERY_S)
    good = now["state"] == "sent"
    face.show(now, lambda: f"{now['target']}  {'sent' if good else 'not sent'}  {safe(now['status'])}\n")
    return ExitCode.DONE if good else ExitCode.UNAVAILABLE


def show_deliveries(face: Face, target: str, number: int) -> None:
    """The newest of a target, such as `notify:phone`."""
    answer = face.client().get("/v1/deliveries", target=target, limit=number)
    face.show(answer, lambda: listing(answer["deliveries"], _DELIVERIES, "nothing was sent yet"))


_DELIVERIES: Columns = {
    **{"AT": "created_at", "STATE": "state", "KIND": "kind", "TRIES": "tries", "NEXT TRY": "next_at"},
    **{"ANSWER": "status", "DELIVERY": "delivery"},
}
Channel = Annotated[str, Argument(metavar="CHANNEL")]


@app.group("notify", "pancode notify ls", "pancode notify test phone", default="ls")
def notify() -> None:
    """Notices to people by ntfy, mail, Slack and other services of Apprise; channels are in pancode.yaml."""


@notify.verb("ls", "pancode notify ls")
def ls(face: Json) -> None:
    """Every channel with the kinds of notices that it gets, and how its last message ended."""
    answer = face.client().get("/v1/notify")
    none = "no channel; add one to pancode.yaml: notify: {channels: {phone: {url: secret:phone}}}"
    unknown = [f"a rule of notices names the unknown channel {safe(n)}\n" for n in answer["unknown_channels"]]
    face.show(answer, lambda: listing(answer["channels"], _CHANNELS, none) + "".join(unknown))


def _state(one: dict[str, Any]) -> str:
    return "failing" if one["trouble"] else "ok" if one["last_sent_at"] else "not tried yet"


_CHANNELS: Columns = {
    **{"CHANNEL": "channel", "STATE": _state, "TOLD OF": "kinds", "WAITING": "waiting"},
    **{"LAST SENT": "last_sent_at", "WHY": "trouble"},
}


@notify.verb("test", "pancode notify test phone")
def test(channel: Channel, face: Json) -> int:
    """Send a notice now, also in quiet hours, and say what came of it."""
    client = face.client()
    made = client.post("/v1/notify/test", {"by": who(), "channel": channel})
    return awaited(face, client, made)


@notify.verb("log", "pancode notify log phone")
def log(channel: Channel, *, number: Newest = 20, face: Json) -> None:
    """What was sent to a channel, newest first."""
    show_deliveries(face, f"notify:{channel}", number)


@notify.verb("secret", "pancode notify secret phone < address.txt")
def secret(name: Annotated[str, Argument(metavar="NAME")], face: Json) -> None:
    """Keep the address of a channel, in Apprise's words: from standard input, or from a hidden prompt.

    It is a file in PANCODE_HOME/secrets that only you can read; pancode.yaml names it as secret:NAME.
    The token of a forge is kept in the same way.
    """
    from pancode.fleet.login import keep_here

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


Hook = Annotated[str, Argument(metavar="NAME")]


@app.group("webhook", "pancode webhook ls", "pancode webhook deliveries ci", default="ls")
def webhook() -> None:
    """Signed events for other programs, by the scheme of Standard Webhooks."""


@webhook.verb(
    "add",
    "pancode webhook add ci https://ci.example.org/pancode",
    "pancode webhook add board http://10.0.0.7:8080/hook --event run.done --event run.failed",
)
def add(
    name: Hook,
    url: Annotated[str, Argument(metavar="URL")],
    *,
    event: Annotated[
        list[str],
        many("run.failed, run.done, node.lost ..., a kind of event, or run.*; may be repeated.", "EVENT"),
    ],
    face: Json,
) -> None:
    """Send events to URL, each signed with a secret that is shown once."""
    body = {"by": who(), "name": name, "url": url, "events": event}
    made = face.client().post("/v1/webhooks", body)
    face.show(made, lambda: f"{made['webhook']}  {safe(made['url'])}\nsecret, shown once: {made['secret']}\n")


@webhook.verb("ls", "pancode webhook ls")
def ls_webhooks(face: Json) -> None:
    """Every webhook, and what came of its last delivery."""
    answer = face.client().get("/v1/webhooks")
    none = "no webhook; pancode webhook add NAME URL"
    face.show(answer, lambda: listing(answer["webhooks"], _WEBHOOKS, none, cut="EVENTS"))


_WEBHOOKS: Columns = {
    **{"WEBHOOK": "webhook", "STATE": lambda one: "failing" if one["trouble"] else "ok", "URL": "url"},
    **{"EVENTS": "events", "WAITING": "waiting", "LAST SENT": "last_sent_at", "WHY": "trouble"},
}


@webhook.verb("rm", "pancode webhook rm ci")
def rm(name: Hook, face: Json) -> None:
    """Send it nothing more; its deliveries and its secret are forgotten."""
    answer = face.client().post(path_of("webhooks", name, "remove"), {"by": who()})
    face.show(answer, lambda: f"{answer['removed']}  removed\n")


@webhook.verb("deliveries", "pancode webhook deliveries ci -n 50")
def deliveries(name: Hook, *, number: Newest = 20, face: Json) -> None:
    """What was sent to a webhook and what it answered, newest first."""
    show_deliveries(face, f"webhook:{name}", number)


@webhook.verb("redeliver", "pancode webhook redeliver webhook:ci:4294967301")
def redeliver(delivery: Annotated[str, Argument(metavar="DELIVERY")], face: Json) -> int:
    """Send a delivery once more, under the same id."""
    client = face.client()
    made: dict[str, Any] = client.post("/v1/deliveries/again", {"by": who(), "delivery": delivery})
    return awaited(face, client, made)
