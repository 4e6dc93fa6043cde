"""Writes the page of every command: from Typer's tree, with each option and example."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from docs.generate.markdown import block, code, page, table, words
from pancode.interfaces.cli.main import cli
from pancode.interfaces.cli.tree import list_children
from pancode.interfaces.cli.words import INSTEAD, WORDS

INTRO = """
Every command, as `pancode COMMAND -h` prints it. A RUN may be any unambiguous prefix of its id, `last`,
or an agent with one run at work. Progress and notes go to standard error, the result to standard output;
`--json` makes the result, and an error, one JSON object; a group alone lists. Exit statuses are on
[a page of their own](exit-codes.md), the objects of `--json` on [another](json.md).
"""


def whole() -> click.Context:
    """`pancode` as a user calls it, with its settings: click keeps the first help option."""
    return click.Context(cli, info_name="pancode", **cli.context_settings)


def commands_page() -> str:
    top = whole()
    parts = [words(INTRO), _contents()]
    parts += [part for path, command in walk(cli, top) for part in _one(path, command)]
    return page("Commands", "the commands of `pancode`", *parts, *_other_names())


def walk(group: click.Group, context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    """Every command below a group, depth first, in the order of its help."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield inner, command
        if isinstance(command, click.Group):
            yield from walk(command, inner)


def examples(command: click.Command) -> list[str]:
    """The lines of its help that show how it is called."""
    lines = (command.epilog or "").replace("\b", "").splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


def _contents() -> str:
    rows = [(f"[`{name}`](#pancode-{name})", command.line) for name, command in list_children("").items()]
    return table(("Command", "What for"), rows)


def _other_names() -> list[str]:
    told = (
        ("These work as the command beside them.", WORDS, "Command"),
        ("These say what to use, and end with exit status 2.", INSTEAD, "What to use"),
    )
    parts = ["## Other names"]
    for sentence, names, head in told:
        rows = [(code(name), code(meant.replace("pancode ", ""))) for name, meant in names.items()]
        parts += [sentence, table(("Name", head), rows)]
    return parts


def _one(context: click.Context, command: click.Command) -> list[str]:
    level = "##" if context.parent is not None and context.parent.parent is None else "###"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"{level} {context.command_path}", block(usage), words((command.help or "").replace("\b", ""))]
    default = getattr(command, "default", None)
    if default is not None:
        parts.append(f"Without a subcommand: {code(default)}.")
    rows = [_option(context, p) for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if rows:
        parts.append(table(("Option", "Meaning"), rows))
    shown = examples(command)
    return (
        [*parts, block("\n".join(f"$ {line}" for line in shown), "console not=example")] if shown else parts
    )


def _option(context: click.Context, option: click.Option) -> tuple[str, str]:
    record = option.get_help_record(context)
    spelled, meaning = record if record is not None else ("/".join(option.opts), option.help or "")
    return code(re.sub(r"\s+", " ", spelled)), meaning
