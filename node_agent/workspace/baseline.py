"""Decides which files of an attempt come from set-up and not from the agent."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node_agent.wire.git import Change, parents
from node_agent.workspace.errors import WorkspaceFailure

NO_WORKSPACE = "none"
"""The name of a baseline where there is nothing to compare."""
_ABSENT = "000000"

Entry = tuple[str, str]
"""Mode and object id of a file."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The checkout after set-up: by path, its content in the snapshot and now (None: absent).

    `head` is the commit that the agent's repository stood on; `nested` are repositories inside the tree.
    """

    head: str | None = None
    changes: Mapping[bytes, tuple[Entry | None, Entry | None]] = field(default_factory=dict)
    nested: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Restored:
    """The parts of the result that come from the snapshot, and paths that the agent's files block."""

    entries: Mapping[bytes, Entry | None]
    blocked: tuple[bytes, ...]


def changes_of(raw: list[Change]) -> dict[bytes, tuple[Entry | None, Entry | None]]:
    """A raw diff from the snapshot to what set-up left."""
    return {one.path: (_entry(one.old_mode, one.old), _entry(one.new_mode, one.new)) for one in raw}


def _entry(mode: str, oid: str) -> Entry | None:
    return None if mode == _ABSENT else (mode, oid)


def as_set_up(baseline: Baseline, files: Mapping[bytes, Entry]) -> frozenset[bytes]:
    """The paths that set-up changed and nobody after it. `files`: every file that there is now."""
    return frozenset(path for path, (_, left) in baseline.changes.items() if files.get(path) == left)


def restored(baseline: Baseline, files: Mapping[bytes, Entry]) -> Restored:
    """The patch that removes set-up's changes from the result, as far as the agent's own allow it."""
    untouched = as_set_up(baseline, files)
    staying = files.keys() - untouched
    folders = {folder for path in staying for folder in parents(path)}
    entries: dict[bytes, Entry | None] = {}
    blocked = []
    for path in sorted(untouched):
        was = baseline.changes[path][0]
        if was is not None and (path in folders or not staying.isdisjoint(parents(path))):
            blocked.append(path)
        else:
            entries[path] = was
    return Restored(entries, tuple(blocked))


def kept(baseline: Baseline, path: Path) -> str:
    """Write it down; its name is the digest of what was written."""
    data = json.dumps(
        {
            "head": baseline.head,
            "changes": [[os.fsdecode(name), *pair] for name, pair in sorted(baseline.changes.items())],
            "nested": sorted(map(os.fsdecode, baseline.nested)),
        },
        separators=(",", ":"),
    ).encode("ascii")
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    return hashlib.sha256(data).hexdigest()


def read_baseline(path: Path, name: str) -> Baseline:
    """The baseline of that name. WorkspaceFailure when other bytes lie there: an agent may share our uid."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != name:
        raise WorkspaceFailure("files of set-up differ from their record")
    raw: dict[str, Any] = json.loads(data)
    return Baseline(
        head=raw["head"],
        changes={os.fsencode(path): (_pair(was), _pair(left)) for path, was, left in raw["changes"]},
        nested=frozenset(map(os.fsencode, raw["nested"])),
    )


def _pair(raw: list[str] | None) -> Entry | None:
    return None if raw is None else (raw[0], raw[1])
