"""`pancode help`: help on a command, and the table of exit statuses."""

from __future__ import annotations

from typing import Annotated

import click
import typer
from typer import Argument

from pancode.cli.output.tables import table
from pancode.cli.output.tell import MEANINGS
from pancode.cli.parsing.lazy import Commands, unknown
from pancode.cli.parsing.params import Json

app = Commands()

TOPICS = ("exit-codes",)


@app.verb("help", "pancode help exit-codes", "pancode help fleet up")
def help_command(
    ctx: typer.Context,
    topic: Annotated[list[str], Argument(default_factory=list, show_default=False)],
    face: Json,
) -> None:
    """Help on a command, or the table of exit codes."""
    if topic == ["exit-codes"]:
        rows = [(int(code), words) for code, words in MEANINGS.items()]
        data = {"exit_codes": [{"code": int(code), "meaning": words} for code, words in MEANINGS.items()]}
        face.show(data, lambda: table(("CODE", "MEANING"), rows))
        return
    text = _help_of(ctx.find_root(), topic)
    face.show({"help": text}, lambda: text + "\n")


def _help_of(root: click.Context, words: list[str]) -> str:
    """The help of a command, named word by word."""
    context = root
    for word in words:
        group = context.command
        found = group.get_command(context, word) if isinstance(group, click.Group) else None
        if found is None:
            names = group.list_commands(context) if isinstance(group, click.Group) else []
            raise unknown(word, [*names, *TOPICS], context.command_path)
        context = click.Context(found, info_name=word, parent=context)
    return context.get_help()
