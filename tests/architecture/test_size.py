"""Holds every file and function under the hard stops: 400 lines and 60 lines."""

from __future__ import annotations

from tests.architecture.sources import CHECKED, functions, modules, text

FILE_LINES = 400
FUNCTION_LINES = 60
# A migration is a frozen list of statements: cutting it in pieces would make it no easier to read.
MIGRATIONS = "migrations/versions"
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "service", "services", "misc"}


def test_no_file_is_too_long() -> None:
    sizes = {path: len(text(path).splitlines()) for path in modules(*CHECKED)}
    assert sizes
    too_long = [f"{path}: {lines} lines" for path, lines in sizes.items() if lines > FILE_LINES]
    assert not too_long, f"split by what is decided: {too_long}"


def test_no_function_is_too_long() -> None:
    too_long = []
    for path in [p for p in modules(*CHECKED) if MIGRATIONS not in p.as_posix()]:
        for node in functions(path):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                too_long.append(f"{path}:{node.lineno} {node.name}: {lines} lines")
    assert not too_long


def test_names_say_what_is_inside() -> None:
    vague = [str(path) for path in modules(*CHECKED) if VAGUE & set(path.with_suffix("").parts)]
    assert not vague
