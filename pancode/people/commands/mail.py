"""`pancode mail`: the inbox and the words for agents as one mailbox: send, ls, read."""

from __future__ import annotations

from typing import Any

from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import who
from pancode.interfaces.cli.parameters import Json, Run
from pancode.interfaces.cli.terminal import safe, safe_block, short_time
from pancode.interfaces.client.client import path_of
from pancode.people.commands.inbox import inbox, tell

app = Commands()


@app.group("mail", "pancode mail ls", "pancode mail send builder 'the tests are in spec/'")
def mail() -> None:
    """The mailbox between you and the agents: what they ask you, and what you say to them.

    It is the inbox and the words of runs by other names: `inbox`, `tell`, `answer`. Nothing is kept twice.
    """


mail.verb("ls", "pancode mail ls", "pancode mail ls --json")(inbox)
mail.verb("send", "pancode mail send builder 'the tests are in spec/'")(tell)


@mail.verb("read", "pancode mail read last")
def read(
    run: Run,
    face: Json,
) -> None:
    """All that was said with one run: its question if it waits for you, your words, and its last answer."""
    client = face.client()
    shape = client.get(path_of("runs", run))
    items = client.get("/v1/inbox", by=who())["items"]
    asks = [one for one in items if one["run"] == shape["run"]]
    face.show(
        {"run": shape["run"], "asks": asks, "told": shape["told"], "answer": shape["answer"]},
        lambda: _mail(shape, asks),
    )


def _mail(shape: dict[str, Any], asks: list[dict[str, Any]]) -> str:
    lines = [f"{shape['run']}  {safe(shape['agent'])}  {safe(' '.join(shape['task'].split()))[:100]}\n"]
    for one in shape["told"]:
        heard = f"delivered {safe(one['delivered'])}" if one["delivered"] else "not delivered yet"
        lines.append(f"\n{safe(one['by'])} at {short_time(one['at'])}, {heard}:\n{safe_block(one['text'])}")
    if shape["answer"]:
        lines.append(f"\n{safe(shape['agent'])}:\n{safe_block(shape['answer'])}")
    for one in asks:
        lines.append(f"\nit waits for you ({one['kind']}):\n{safe_block(one['words'])}  {one['command']}\n")
    return "".join(lines)
