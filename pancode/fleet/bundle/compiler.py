"""Compiles the Python files listed on standard input: a separate program, standard library only.

The input is a JSON list of [source, target, name, optimization level]. A file that does not compile is left
out: it would only fail if it were imported.
"""

from __future__ import annotations

import json
import py_compile
import sys
from collections.abc import Iterable

Wish = tuple[str, str, str, int]


def compile_all(wishes: Iterable[Wish]) -> None:
    """Compile to bytecode that is not checked against its source's time, so that the files can be moved."""
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
