"""Pages of bytes that an agent wrote: diffs in colours, and lines of logs without their escapes."""

from __future__ import annotations

import re

from pancode.interfaces.tui.page import Json, Line, Page, PageMoment, make_line
from pancode.kernel.formatting import diff_style, escape_line

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-_])")
"""Sequences that colour or steer a terminal: taken out whole, so that no rest of them is left to read."""
_TAB = 4
MOST = 50_000
"""How many lines of a diff are shown."""


def strip_escapes(text: str) -> str:
    """Return a line of a log or file without escape sequences and tabs; other controls are named."""
    return escape_line(_ESCAPES.sub("", text.rstrip("\r\n")).rpartition("\r")[2].expandtabs(_TAB))


def draw_diff(answers: Json, about: str, moment: PageMoment) -> Page:
    """What a run changed, coloured by the first character of each line."""
    lines = answers["diff"].decode("utf-8", "replace").split("\n")
    rows: list[Line] = [((strip_escapes(one), diff_style(one)),) for one in lines[:MOST]]
    if len(lines) > MOST:
        rows.append(make_line(f"... {len(lines) - MOST} more lines: pancode diff {about}", "yellow"))
    if not answers["diff"].strip():
        rows = [make_line("it changed nothing")]
    return Page(lines=tuple(rows), shape={"run": about})


def draw_receipt(answers: Json, about: str, moment: PageMoment) -> Page:
    """The verdict on a run's receipt, with each check."""
    shape = answers["verify"]
    lines: list[Line] = [
        make_line(f"{shape['verdict']}  {shape['run']}", "green" if shape["verdict"] == "PASS" else "red"),
        (),
    ]
    lines += [
        (
            ("ok   " if one["ok"] else "NOT  ", "green" if one["ok"] else "red"),
            (escape_line(f"{one['what']}: {one['detail']}"), ""),
        )
        for one in shape["checks"]
    ]
    return Page(lines=tuple(lines), shape={"run": shape["run"]})
