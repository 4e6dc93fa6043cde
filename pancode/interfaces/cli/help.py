"""`pancode help` and `completion`: help on a command, the table of exit statuses, the completion script."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import click
import typer
from click.shell_completion import get_completion_class
from typer import Argument

from pancode.interfaces.cli.commands import Group, unknown_command_error, verb
from pancode.interfaces.cli.output import MEANINGS
from pancode.interfaces.cli.parameters import Json
from pancode.interfaces.cli.terminal import format_rows
from pancode.interfaces.cli.tree import rewrite
from pancode.interfaces.cli.words import INSTEAD, WORDS


@verb("help", "exit-codes", "fleet up")
def help_command(
    ctx: typer.Context,
    topic: Annotated[list[str], Argument(default_factory=list, show_default=False)],
    face: Json,
) -> None:
    """Show help on a command, the other names of commands (words), or the table of exit codes."""
    if topic == ["exit-codes"]:
        rows = [{"code": int(code), "meaning": words} for code, words in MEANINGS.items()]
        columns = {"CODE": "code", "MEANING": "meaning"}
        return face.show({"exit_codes": rows}, lambda: format_rows(rows, columns))
    if topic == ["words"]:
        names = [{"name": old, "meant": f"pancode {new}"} for old, new in WORDS.items()]
        names += [{"name": old, "meant": f"use: {new}"} for old, new in INSTEAD.items()]
        names.sort(key=lambda one: one["name"])
        return face.show({"words": names}, lambda: format_rows(names, {"NAME": "name", "MEANS": "meant"}))
    context = ctx.find_root()
    for word in rewrite(topic, completes=True):
        group = context.command
        found = group.get_command(context, word) if isinstance(group, Group) else None
        if found is None:
            path = context.command_path.replace("pancode", "pancode help", 1)
            raise unknown_command_error(word, group.path if isinstance(group, Group) else word, path)
        context = click.Context(found, info_name=word, parent=context)
    text = context.get_help()
    return face.show({"help": text}, lambda: text + "\n")


@verb("admin completion", 'eval "$(pancode admin completion bash)"', "fish")
def completion(
    ctx: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish")],
) -> None:
    """Print the script that completes `pancode`. Evaluate it, or save it where your shell looks for it.

    bash: ~/.local/share/bash-completion/completions/pancode; zsh: _pancode in a folder of $fpath;
    fish: ~/.config/fish/completions/pancode.fish.
    """
    from pancode.interfaces.cli.main import ASKED_BY

    kind = get_completion_class(shell)
    assert kind is not None, "click supports each of these shells"
    made = kind(ctx.find_root().command, {}, "pancode", ASKED_BY)
    # made.source() would start bash to check its version, but the script may be for another machine.
    sys.stdout.write(made.source_template % made.source_vars())
