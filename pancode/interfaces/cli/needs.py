"""Formats what needs a user, as `pancode status`, `inbox` and `inbox review` print it."""

from __future__ import annotations

import shutil
import sys
from datetime import datetime

from pancode.interfaces.cli.terminal import clip_columns, escape_line, format_usd
from pancode.kernel.formatting import draw_glyph, format_seconds
from pancode.runs.answers import Need

_UNCUT = 120
"""The columns of a row that is not printed on a terminal."""
_STATE, _WIDE = 11, 100


def find_columns() -> int:
    """Return how many columns a row may have."""
    return max(40, shutil.get_terminal_size((80, 24)).columns) if sys.stdout.isatty() else _UNCUT


def align_ends(left: str, right: str, columns: int) -> str:
    """Return one line with `left` at its beginning and `right` at its end; only `left` is cut."""
    room = columns - len(right)
    return f"{clip_columns(left, room - 2):<{room}}{right}"


def format_age(since: str | None, now: str) -> str:
    if since is None:
        return "-"
    lasted = datetime.fromisoformat(now) - datetime.fromisoformat(since)
    return format_seconds(max(0, lasted.total_seconds()))


def format_row(need: Need, now: str, columns: int) -> str:
    """Return one line: state, title, headline, cost and age. The cost and the age are never cut."""
    cost = "-" if need.usd is None else format_usd(need.usd)
    end = f"{cost:>7} {format_age(need.since, now):>7}"
    room, headline = columns - len(end) - _STATE - 7, escape_line(need.headline)
    headline = "" if need.headline == need.title else f"  {headline}"
    state = f"{draw_glyph(need.state)} {clip_columns(need.state.replace('_', ' '), _STATE):<{_STATE}}"
    name = f"{need.run or '-':<8}  " if columns >= _WIDE else ""
    title = clip_columns(escape_line(need.title), max(room * 2 // 5, room - len(name) - len(headline)))
    return align_ends(f"  {state} {name}{title}{headline}", end, columns)
