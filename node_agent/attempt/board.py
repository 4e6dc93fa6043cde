"""Decides which files below `.pancode/board` are values that an attempt has written. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from node_agent.wire.order import BoardEntry

FOLDER = ".pancode/board"
"""Below the checkout's top: `NAMESPACE/KEY`, a text for each."""
MOST_BYTES, MOST_WRITTEN, MOST_TOGETHER = 16 << 10, 64, 32 << 10
"""Of one value; values of one attempt; bytes of all of them."""


def path_of(entry: BoardEntry) -> str:
    """Its file, below the checkout's top."""
    return f"{FOLDER}/{entry.namespace}/{entry.key}"


def written(
    found: Mapping[str, bytes], laid: Iterable[BoardEntry], clean: Callable[[str], str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The values that are new or others, by `NAMESPACE/KEY`, and in words which files are none.

    `clean`: takes secrets out of a text.
    """
    before = {f"{one.namespace}/{one.key}": one.value for one in laid}
    accepted: list[dict[str, Any]] = []
    findings, size = list[str](), 0
    for name, data in sorted(found.items()):
        entry, why = _entry(name, data, clean)
        if entry is not None and entry.value == before.get(name):
            continue
        size += len(data)
        if entry is not None and (len(accepted) == MOST_WRITTEN or size > MOST_TOGETHER):
            entry, why = None, f"an attempt writes {MOST_WRITTEN} values of {MOST_TOGETHER >> 10} KB together"
        if entry is None:
            findings.append(f"not on the board: {clean(name)[:140]}: {why}")
        else:
            accepted.append(entry.model_dump(mode="json"))
    return accepted, findings[:20]


def _entry(name: str, data: bytes, clean: Callable[[str], str]) -> tuple[BoardEntry | None, str]:
    if len(data) > MOST_BYTES:
        return None, f"a value has {MOST_BYTES >> 10} KB at most"
    namespace, _, key = name.partition("/")
    try:
        return BoardEntry(namespace=namespace, key=key, value=clean(data.decode())), ""
    except UnicodeDecodeError:
        return None, "it is no text"
    except ValidationError:
        return None, "it is not NAMESPACE/KEY, each of letters, digits, dots, dashes"
