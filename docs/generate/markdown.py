"""Spells tables, blocks and pages of the generated reference."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from textwrap import dedent, fill
from typing import Any

WIDTH = 118
NOTE = "<!-- Written by `make docs` from {source}. What you change here is lost: change the code. -->"


def page(title: str, source: str, *parts: str) -> str:
    """A whole page: where it comes from, its title, its parts with a blank line between them."""
    return "\n\n".join([NOTE.format(source=source), f"# {title}", *(p.strip("\n") for p in parts)]) + "\n"


def words(text: str) -> str:
    """Running text, wrapped; paragraphs stay apart."""
    paragraphs = re.split(r"\n\s*\n", dedent(text).strip())
    wrapped = (fill(" ".join(p.split()), WIDTH, break_on_hyphens=False) for p in paragraphs)
    return "\n\n".join(line for line in wrapped if line)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; every cell on one line."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def block(text: str, language: str = "") -> str:
    return f"```{language}\n{text.strip(chr(10))}\n```"


def code(text: object) -> str:
    """As code within a line; nothing for nothing."""
    return f"`{text}`" if text not in (None, "") else ""


def yes(value: bool) -> str:
    return "yes" if value else "no"


def sentence(text: str | None) -> str:
    """A docstring as one line, in Markdown's own code marks."""
    return " ".join((text or "").split()).replace("``", "`")


def told(thing: Any) -> str:
    """The docstring of a class or function as running text; nothing where it has none of its own."""
    return words(
        inspect.cleandoc(vars(thing).get("__doc__") or "" if isinstance(thing, type) else thing.__doc__)
    )


def bases(cls: type) -> list[str]:
    """Names of the classes that it is written on; a TypedDict does not remember them in every Python."""
    try:
        body = ast.parse(dedent(inspect.getsource(cls))).body[0]
    except OSError:  # it was made by a call, because a key of it is no name
        return []
    assert isinstance(body, ast.ClassDef)
    return [ast.unparse(base) for base in body.bases]


def remarks(cls: type) -> dict[str, str]:
    """The string below each field of a class: what the code itself says about it."""
    body = ast.parse(dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = sentence(str(below.value.value))
    return found


def listed(values: Iterable[object]) -> str:
    """Values as code, with commas."""
    return ", ".join(code(v.value if isinstance(v, Enum) else v) for v in values)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
