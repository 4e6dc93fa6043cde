"""Reads what a run that is gone did last out of the log that has arrived of it: calls, and files it wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MOST_BYTES = 1 << 18
"""Of the end of a log that is read."""
_MOST_ACTS, _MOST_FILES, _MOST_CHARS, _DEEPEST = 8, 50, 160, 12
_PATHS = ("file_path", "filePath", "path", "absolute_path")
_WRITES = frozenset(
    {"content", "contents", "old_string", "oldString", "old_str", "new_str", "new_string", "diff", "edits"}
)
_WRITING = frozenset({"write", "edit", "add", "update", "delete"})
"""In the streams of the agent programs: the keys that say where a call writes, and by which keys, tools or
kinds of change it does."""


def last_acts(log: bytes) -> tuple[list[str], list[str]]:
    """The commands that it ran last, and the files that it wrote last; the newest last, each once, in short.

    `log`: the end of its program's output, JSON lines of any of the programs; what is no such line is passed
    over. It is a stranger's text, and nothing of it is believed.
    """
    acts, files = dict[str, None](), dict[str, None]()
    for line in log.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        for command, path in _calls(found, 0):
            known, word = (acts, command) if command else (files, path)
            known.pop(word, None)
            known[word] = None
    return list(acts)[-_MOST_ACTS:], list(files)[-_MOST_FILES:]


def _calls(value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """Each command, and each path that is written, as far down as they stand."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in value:
            yield from _calls(one, depth + 1)
    if not isinstance(value, dict):
        return
    command = value.get("command")
    words = " ".join(map(str, command)) if isinstance(command, list) else command
    path = next((value[key] for key in _PATHS if isinstance(value.get(key), str)), "")
    if path and (not _WRITES.isdisjoint(value) or {value.get("tool"), value.get("kind")} & _WRITING):
        yield "", _short(path)
    elif isinstance(words, str) and words.strip() and not path:
        yield _short(words), ""
    for one in value.values():
        yield from _calls(one, depth + 1)


def _short(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _MOST_CHARS else f"{line[: _MOST_CHARS - 3]}..."
