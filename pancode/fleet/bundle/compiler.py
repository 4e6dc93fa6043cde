"""Compiles the Python files that its standard input names: a program by itself, standard library only.

It is told a JSON list of [source, target, name, level of optimisation]. What does not compile is left out: it
would fail where it is imported, if ever.
"""

from __future__ import annotations

import json
import py_compile
import sys
from collections.abc import Iterable

Wish = tuple[str, str, str, int]


def compile_all(wishes: Iterable[Wish]) -> None:
    """Compile to bytecode that is never checked against its source's time, so that it may be moved."""
    for source, target, name, level in wishes:
        py_compile.compile(
            source,
            target,
            dfile=name,
            optimize=level,
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


if __name__ == "__main__":
    compile_all(json.load(sys.stdin))
