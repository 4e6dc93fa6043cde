"""What command declarations use: `verb`, the options that commands share, and parsers of values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

import typer
from typer import Argument as Argument
from typer import Option

from pancode.interfaces.cli import completions as completions
from pancode.interfaces.cli.commands import verb as verb
from pancode.interfaces.cli.output import FORMATS
from pancode.interfaces.cli.output import Face as Face
from pancode.interfaces.cli.output import find_user as find_user
from pancode.interfaces.client.client import Client
from pancode.kernel.route import Route

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|[KMG]B|[KMG]iB|[kKmMgG])")
_UNITS_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_UNITS_BYTES |= {letter: 10**power for power, both in ((3, "kK"), (6, "mM"), (9, "gG")) for letter in both}
_LONGEST = 40
"""How many characters a typed number may have; a longer number cannot be valid."""
_MONEY = re.compile(r"\$?(\d{1,9}(?:\.\d{1,9})?)")


def parse_duration(value: str) -> int:
    """Parse a duration into milliseconds."""
    text = value.strip().replace(" ", "")
    parts = _PART.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text or len(text) > _LONGEST:
        raise typer.BadParameter(f"{value!r} is not a duration; write 90s, 15m or 1h30m")
    return round(sum(float(number) * _UNITS_MS[unit] for number, unit in parts))


def parse_money(value: str) -> str:
    """Parse an amount of USD into a decimal string."""
    match = _MONEY.fullmatch(value.strip())
    if match is None:
        raise typer.BadParameter(f"{value!r} is not an amount of USD; write 0.75 or 10")
    return match[1]


def size_of(value: str) -> int:
    """Parse a size into bytes."""
    match = _SIZE.fullmatch(value.strip())
    if match is None or len(match[0]) > _LONGEST:
        raise typer.BadParameter(f"{value!r} is not a size; write 64MiB, 2GiB or 24g")
    return round(float(match[1]) * _UNITS_BYTES[match[2]])


class Label(NamedTuple):
    """A label of a node, written as KEY=VALUE."""

    key: str
    value: str


def parse_label(value: str) -> Label:
    key, equals, rest = value.partition("=")
    if not equals or not key or not rest:
        raise typer.BadParameter(f"{value!r} is not KEY=VALUE, as in gpu=24g")
    return Label(key, rest)


class SlotBounds(NamedTuple):
    """How many runs a node takes at once: `most`, or fewer while the node is under load, down to `least`."""

    least: int | None
    most: int


def slot_bounds(value: str) -> SlotBounds:
    """Parse bounds such as 4 or 1-8."""
    least, dash, most = value.partition("-")
    bounds = (least, most) if dash else ("", least)
    if not all(part.isascii() and part.isdigit() for part in filter(None, bounds)) or not bounds[1]:
        raise typer.BadParameter(f"{value!r} must be a number of runs, or bounds such as 1-8")
    found = SlotBounds(int(bounds[0]) if dash else None, int(bounds[1]))
    if not 1 <= (found.least or 1) <= found.most <= 256:
        raise typer.BadParameter(f"{value!r} must be from 1 to 256, with the lower bound first")
    return found


def option(help: str, *words: str, complete: Callable[[str], list[str]] | None = None, **more: Any) -> Any:
    """Return a Typer option with its help, names and the name of its value. `complete`: what Tab offers."""
    names = [word for word in words if word.startswith("-")]
    value = next((word for word in words if not word.startswith("-")), None)
    return Option(*names, metavar=value, help=help, autocompletion=complete, **more)


def many(help: str, *words: str, **more: Any) -> Any:
    """Return an option that may be repeated; if it is not given, its value is an empty list."""
    return option(help, *words, default_factory=list, show_default=False, **more)


def read_face(format: str) -> Face:
    """Return the command's output object for this format; without a format, it prints text."""
    if format and format not in FORMATS:
        raise typer.BadParameter(f"format {format!r} not found; use one of {', '.join(FORMATS)}")
    return Face(format == "json", format)


Json = Annotated[
    Face,
    Option(
        "-o",
        "--output",
        "--json",
        metavar="FORMAT",
        parser=read_face,
        default_factory=str,
        show_default=False,
        help="json, yaml, wide (no column is cut) or name (only ids); --json means -o json.",
    ),
]
"""The option -o: the command answers in this format instead of text. `--json` means `-o json`."""
Run = Annotated[str, Argument(autocompletion=completions.complete_runs)]
Node = Annotated[str, Argument(autocompletion=completions.nodes)]
Nodes = Annotated[
    list[str], Argument(autocompletion=completions.nodes, default_factory=list, show_default=False)
]
Verbose = Annotated[bool, option("Show every step, and the facts behind the result.", "-v", "--verbose")]
Cursor = Annotated[
    str | None, option("Show the next page: pass `next` from the last JSON, with the same filters.", "CURSOR")
]
Whole = Annotated[bool, option("Show all rows, page by page.", "--all")]
Detach = Annotated[bool, option("Do not wait for the result.", "--detach/--wait")]
_YES = (
    "Approve an agent that asks a user before each dispatch, and a --model that failed its test (in a chat, "
    "or for a read-only agent)."
)
Yes = Annotated[bool, option(_YES, "--yes")]
WithCommands = Annotated[bool, option("Approve files that decide what runs next, such as .github/.")]
WithSecret = Annotated[bool, option("Approve a run's secret in the change, or a secret scan that failed.")]
Anyway = Annotated[bool, option("Land even if a run that this change is based on failed or was stopped.")]
PAGE = 1_000
"""How many rows `--all` requests per page."""


P = TypeVar("P")


def fetch_page(
    client: Client,
    route: Route[P],
    rows: str,
    limit: int,
    cursor: str | None,
    filters: Mapping[str, object] = {},
    *,
    whole: bool,
) -> P:
    """Return a page of the list, its rows under the name `rows`; with `whole`, the rows of all pages."""
    most = PAGE if whole else limit
    answer: Any = client.get(route, limit=most, cursor=cursor, **filters)
    while whole and answer["next"] is not None:
        more: Any = client.get(route, limit=most, cursor=answer["next"], **filters)
        answer = {**more, rows: [*answer[rows], *more[rows]]}
    found: P = answer
    return found
