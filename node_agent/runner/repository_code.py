"""Finds code of a repository that an agent program would run by itself, whatever its flags say."""

from __future__ import annotations

import re
from pathlib import Path

from node_agent.runtimes.base import Brought

MOST = 1 << 20
_ESCAPED = re.compile(rb"\\u[0-9a-fA-F]{4}")


def brought_in(tree: Path, folder: str, kinds: tuple[Brought, ...]) -> str | None:
    """The first of it by its path in the checkout; None where there is none.

    Looked for where the program looks: in the folder in which it begins, and in all above it to the top.
    """
    places = [tree]
    for name in filter(None, folder.split("/")):
        places.append(places[-1] / name)
    for place in places:
        for kind in kinds:
            for path in sorted(place.glob(kind.pattern)):
                if not kind.naming or _names(path, kind.naming):
                    return str(path.relative_to(tree))
    return None


def _names(path: Path, word: str) -> bool:
    """Check whether it may hold that word. A file that cannot be read whole may hold anything."""
    if not path.is_file():  # a pipe or a device would let us wait for ever
        return True
    try:
        with path.open("rb") as file:
            data = file.read(MOST + 1)
    except OSError:
        return True
    return len(data) > MOST or word.encode() in data or _ESCAPED.search(data) is not None
