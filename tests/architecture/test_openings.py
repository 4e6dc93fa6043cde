"""Holds every module to its opening: one line that says what it decides, then the future import."""

from __future__ import annotations

import ast

from tests.architecture.sources import CHECKED, ROOT, modules, text, tree

WRITTEN = [path for path in modules(*CHECKED) if text(path).strip()]
# One or two words name the module again and say nothing.
TELLING_WORDS = 3


def test_first_line_says_what_it_does() -> None:
    silent = []
    for path in WRITTEN:
        docstring = ast.get_docstring(tree(path)) or ""
        if len(docstring.split("\n")[0].split()) < TELLING_WORDS:
            silent.append(str(path))
    assert WRITTEN and not silent


def test_annotations_are_not_evaluated() -> None:
    lacking = []
    for path in WRITTEN:
        body = tree(path).body
        future = any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in body)
        future |= path.name == "answers.py"  # types as text would be compiled at the start of each command
        if len(body) > 1 and not future:
            lacking.append(str(path))
    assert not lacking


def test_the_node_package_is_empty() -> None:
    assert (ROOT / "node_agent" / "__init__.py").read_bytes() == b""
