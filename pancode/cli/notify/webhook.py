"""`pancode webhook`: addresses that are sent signed events."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Argument

from pancode.cli.face import who
from pancode.cli.notify.words import Newest, awaited, show_deliveries
from pancode.cli.output.render import safe, short_time
from pancode.cli.output.tables import table
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, many
from pancode.client import path_of

app = Commands()
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
def ls(face: Json) -> None:
    """Every webhook, and what came of its last delivery."""
    answer = face.client().get("/v1/webhooks")
    rows = [
        (
            one["webhook"],
            "failing" if one["trouble"] else "ok",
            safe(one["url"]),
            ", ".join(one["events"]),
            one["waiting"],
            short_time(one["last_sent_at"]),
            safe(one["trouble"]),
        )
        for one in answer["webhooks"]
    ]
    head = ("WEBHOOK", "STATE", "URL", "EVENTS", "WAITING", "LAST SENT", "WHY")
    none = "no webhook; pancode webhook add NAME URL\n"
    face.show(answer, lambda: table(head, rows, toned=("STATE",), cut="EVENTS") if rows else none)


@webhook.verb("rm", "pancode webhook rm ci")
def rm(name: Hook, face: Json) -> None:
    """Send it nothing more; its deliveries and its secret are forgotten."""
    answer = face.client().post(path_of("webhooks", name, "remove"), {"by": who()})
    face.show(answer, lambda: f"{answer['removed']}  removed\n")


@webhook.verb("deliveries", "pancode webhook deliveries ci -n 50")
def deliveries(
    name: Hook,
    *,
    number: Newest = 20,
    face: Json,
) -> None:
    """What was sent to a webhook and what it answered, newest first."""
    show_deliveries(face, f"webhook:{name}", number)


@webhook.verb("redeliver", "pancode webhook redeliver webhook:ci:4294967301")
def redeliver(delivery: Annotated[str, Argument(metavar="DELIVERY")], face: Json) -> int:
    """Send a delivery once more, under the same id."""
    client = face.client()
    made: dict[str, Any] = client.post("/v1/deliveries/again", {"by": who(), "delivery": delivery})
    return awaited(face, client, made)
