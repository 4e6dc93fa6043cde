"""Writes the manual pages from Typer's tree: one for `pancode`, one for each of its commands."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from docs.generate.commands import examples, walk, whole
from docs.generate.settings import PLACES
from pancode import __version__
from pancode.config.variables import VARIABLES
from pancode.interfaces.cli.main import cli
from pancode.interfaces.cli.output import MEANINGS
from pancode.interfaces.cli.tree import list_children

DAY = "2026-11-21"
"""Of this version's pages; with the version it is all that a page says of time."""
_NOTE = '.\\" Written from the commands of pancode by `make man`.'
_FILES = {
    "~/.pancode": "the coordinator's home: settings, ledger, receipts, keys, results",
    "~/.pancode/pancode.yaml": "your settings; written, all comments, by pancode init",
    "~/.pancode-node": "on a node: what its node agent keeps",
}


def write_manual(folder: Path) -> None:
    """Writes the pages into the folder; a page of a command that is gone is deleted."""
    pages = manual_pages()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    with tempfile.TemporaryDirectory(
        dir=folder.parent
    ) as made:  # another build may read the folder meanwhile
        for name, text in pages.items():
            (Path(made) / name).write_text(text, encoding="utf-8")
            (Path(made) / name).replace(folder / name)


def manual_pages() -> Mapping[str, str]:
    """File name to page."""
    top = whole()
    pages = {"pancode.1": _top(top)}
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        if command is not None and not command.hidden:
            pages[f"pancode-{name}.1"] = _command(name, click.Context(command, info_name=name, parent=top))
    return pages


def _top(context: click.Context) -> str:
    lines = _head("pancode", "a fleet runtime for coding agents")
    lines += [".SH SYNOPSIS", ".B pancode", "[OPTIONS] COMMAND [ARGS]..."]
    lines += [".SH DESCRIPTION", *_text(context.command.help or "")]
    lines += [*_text("Each command has a page of its own, such as pancode-dispatch(1), and -h.")]
    lines += _options(context)
    lines += [".SH COMMANDS"]
    for name, (line, _) in list_children("").items():
        lines += _item(f"pancode-{name}(1)", line)
    lines += [".SH EXIT STATUS"]
    for code, meaning in MEANINGS.items():
        lines += _item(str(int(code)), meaning)
    lines += [".SH ENVIRONMENT"]
    for name, meaning in PLACES:
        lines += _item(name, meaning)
    for name, (key, _) in VARIABLES.items():
        lines += _item(name, f"sets {key}")
    lines += [".SH FILES"]
    for path, meaning in _FILES.items():
        lines += _item(path, meaning)
    return _page(lines + _examples(context.command))


def _command(name: str, context: click.Context) -> str:
    command = context.command
    lines = _head(f"pancode-{name}", list_children("")[name].line)
    lines += [".SH SYNOPSIS", *_usage(context)]
    lines += [".SH DESCRIPTION", *_text(command.help or ""), *_options(context)]
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS"]
        default = getattr(command, "default", None)
        lines += _text(f"Without one, {default} is meant.") if default is not None else []
        for inner, below in walk(command, context):
            lines += [f".SS {_plain(inner.command_path)}", *_usage(inner), ".PP", *_text(below.help or "")]
            lines += _options(inner, heading="")
    lines += _examples(command)
    return _page([*lines, ".SH SEE ALSO", ".BR pancode (1)"])


def _head(name: str, line: str) -> list[str]:
    title = f'.TH {name.upper()} 1 "{DAY}" "PanCode {__version__}"'
    return [_NOTE, title, ".SH NAME", f"{name} \\- {_plain(line)}"]


def _usage(context: click.Context) -> list[str]:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return [f".B {_plain(context.command_path)}", _plain(pieces)]


def _text(text: str) -> list[str]:
    """Paragraphs; what click is told to leave as it is (`\\b`) stays so, line by line."""
    out: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        kept = paragraph.lstrip().startswith("\b")
        body = paragraph.replace("\b", "").strip("\n")
        lines = body.splitlines() if kept else [" ".join(body.split())]
        lines = [_plain(line) for line in lines if line.strip()]
        out += [".PP", *([".nf", *lines, ".fi"] if kept else lines)] if lines else []
    return out[1:]  # a heading begins a paragraph by itself


def _options(context: click.Context, heading: str = ".SH OPTIONS") -> list[str]:
    out = []
    asks = context.command.get_help_option(context)  # every command has it: said once
    for option in context.command.get_params(context):
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record is not None and (option is not asks or context.parent is None):
            out += _item(re.sub(r"\s+", " ", record[0]), record[1])
    return [heading, *out] if heading and out else out


def _item(term: str, meaning: str) -> list[str]:
    return [".TP", f".B {_plain(term)}", _plain(" ".join(meaning.split())) or "\\&"]


def _examples(command: click.Command) -> list[str]:
    shown = [_plain(line) for line in examples(command)]
    return [".SH EXAMPLES", ".nf", *shown, ".fi"] if shown else []


def _page(lines: list[str]) -> str:
    return "\n".join(_short(lines)) + "\n"


def _short(lines: list[str]) -> Iterator[str]:
    """Blank lines are no part of a page, and a line of ours ends in no blank."""
    return (line.rstrip() for line in lines if line.strip())


def _plain(text: str) -> str:
    """Text that troff takes as it is: no escape, no request, hyphens that can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
