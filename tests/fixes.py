"""Watches the errors that tests meet: each `pancode` command that a fix prints is one that PanCode has."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click

PRODUCT = ("/pancode/", "/node_agent/")
ROOT = str(Path(__file__).resolve().parents[1])
COMMAND = re.compile(r"(?<![\w./-])(?<!--user )pancode(?= )([^;:()`'\"]*)")
"""Where a fix names a command; what follows is read up to a word that is not a part of it."""
MET: set[str] = set()
"""The fixes that tests of this process have met, and that were not looked at yet."""
_KNOWN: set[str] = set()


def watch() -> None:
    """Have each error that the product makes note its fix."""
    from pancode.kernel.errors import PancodeError

    made = PancodeError.__init__

    def noting(self: PancodeError, *words: object, **more: str) -> None:
        made(self, *words, **more)  # type: ignore[arg-type]
        if self.fix and self.fix not in _KNOWN and _is_products():
            _KNOWN.add(self.fix)
            MET.add(self.fix)

    PancodeError.__init__ = noting  # type: ignore[assignment,method-assign]


def _is_products() -> bool:
    """Whether the product made the error, and not a test."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_name == "__init__":
        frame = frame.f_back
    return frame.f_code.co_filename.removeprefix(ROOT).startswith(PRODUCT)


def wrong_in(fix: str) -> Iterator[str]:
    """Yield what the command line does not have of the commands that this fix names."""
    for found in COMMAND.finditer(fix):
        words = list(_words(found[1]))
        yield from _wrong(words, fix)


def _words(text: str) -> Iterator[str]:
    """Yield the words of the command; a comma, or a full stop at its end, ends it."""
    for word in text.split():
        if word in ("then", "and", "or", "again", "--", "is", "shows"):
            return
        yield word.rstrip(",.?")
        if word[-1] in ",.?":
            return


def _wrong(words: list[str], fix: str) -> Iterator[str]:
    from pancode.interfaces.cli.tree import rewrite

    words = rewrite(words)
    command, path = root(), list[str]()
    while isinstance(command, click.Group) and words:
        below = command.get_command(click.Context(command), words[0])
        if below is None:
            break
        command, path = below, [*path, words.pop(0)]
    name = " ".join(("pancode", *path))
    takes = any(isinstance(one, click.Argument) for one in command.params)
    if words and not takes and re.match(r"[a-z]", words[0]):
        yield f"{name} has no {words[0]!r}: {fix}"
    known = {one for option in command.params for one in (*option.opts, *option.secondary_opts)}
    flags = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    yield from (f"{name} has no {flag}: {fix}" for flag in flags if flag not in {*known, "--help", "-h"})


@cache
def root() -> click.Command:
    from pancode.interfaces.cli.main import cli

    return cli
