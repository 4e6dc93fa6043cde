"""Completes the names of workflow files on the command line."""

from __future__ import annotations

import os
from contextlib import suppress

from pancode.kernel.errors import PancodeError

_FILES = (".yaml", ".yml", ".json", ".jsonl", ".txt")


def workflow_files(incomplete: str) -> list[str]:
    """Return names of workflow files, and paths of possible workflow files."""
    from pancode.workflows.commands.sources import find_places

    if "/" in incomplete:
        folder, _, begun = incomplete.rpartition("/")
        return [f"{folder}/{name}" for name in _files_in(folder or "/") if name.startswith(begun)]
    try:
        names = [text.name for text in find_places().all()]
    except PancodeError:
        names = []
    return [*names, *_files_in(".")]


def _files_in(folder: str) -> list[str]:
    with suppress(OSError):
        found = sorted(os.listdir(folder))
        return [one for one in found if one.endswith(_FILES) or os.path.isdir(os.path.join(folder, one))]
    return []
