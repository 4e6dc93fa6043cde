"""Holds every file and function under the stops: 800 and 100 lines; above 60, a list names a function."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.lines import lines_of_code
from tests.architecture.sources import CHECKED, functions, modules, text
from tests.architecture.test_whole import held

FILE_LINES = 800
FUNCTION_LINES = 100
REASON_LINES = 60
"""A function with more lines is one idea all the same, and stands in `exceptions/functions.txt`."""
RUNTIME_LINES = 250
"""Of code in the command and the parser of one runtime together: what a new one costs at most."""
RUNTIMES = "node_agent/runtimes"
# A migration is a frozen list of statements: cutting it in pieces would make it no easier to read.
MIGRATIONS = "migrations/versions"
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc"}


def test_no_file_is_too_long() -> None:
    sizes = {path: len(text(path).splitlines()) for path in modules(*CHECKED)}
    assert sizes
    too_long = [f"{path}: {lines} lines" for path, lines in sizes.items() if lines > FILE_LINES]
    assert not too_long, f"split by what is decided: {too_long}"


def test_no_function_is_too_long() -> None:
    sizes = {}
    for path in [p for p in modules(*CHECKED) if MIGRATIONS not in p.as_posix()]:
        for node in functions(path):
            sizes[f"{path}:{node.name}"] = (node.end_lineno or node.lineno) - node.lineno + 1
    assert not {name: lines for name, lines in sizes.items() if lines > FUNCTION_LINES}
    held({name: lines for name, lines in sizes.items() if lines > REASON_LINES}, "functions")


def test_names_say_what_is_inside() -> None:
    vague = [str(path) for path in modules(*CHECKED) if VAGUE & set(path.with_suffix("").parts)]
    assert not vague


@pytest.mark.parametrize(
    "runtime", sorted(path.parent.name for path in modules(RUNTIMES) if path.name == "parse.py")
)
def test_a_runtime_is_small(runtime: str) -> None:
    lines = sum(lines_of_code(Path(RUNTIMES, runtime, name)) for name in ("command.py", "parse.py"))
    assert 0 < lines <= RUNTIME_LINES
