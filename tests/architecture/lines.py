"""Counts lines of code: without blank lines, comments and docstrings."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.architecture.house import room_of
from tests.architecture.sources import PACKAGES, modules, text, tree


def lines_of_code(path: Path) -> int:
    """Return the number of lines without blank lines, comments, and texts that stand by themselves."""
    code = {
        number
        for number, line in enumerate(text(path).splitlines(), 1)
        if (words := line.strip()) and not words.startswith("#")
    }
    told = set[int]()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno != node.lineno:
            code |= _lines(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            told |= _lines(node) if isinstance(node.value.value, str) else set()
    return len(code - told)


def _lines(node: ast.expr | ast.stmt) -> set[int]:
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def lines_by_room() -> Counter[str]:
    """Return the lines of code of the product by room."""
    found = Counter[str]()
    for path in modules(*PACKAGES):
        found[room_of(path)] += lines_of_code(path)
    return found
