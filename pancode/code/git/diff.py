"""Shows what a run changed against its snapshot, as a patch or as counted lines per file."""

from __future__ import annotations

from dataclasses import dataclass

from node_agent.wire.git import checked_object, shown
from pancode.code.git.depot import Depot

# Programs that a repository names for diffs are never run.
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "-M")


@dataclass(frozen=True, slots=True)
class FileStat:
    """One changed file; `added` and `removed` are lines, None for a binary; `old_path` of a renamed one."""

    path: str
    added: int | None
    removed: int | None
    old_path: str | None = None


def diff_patch(depot: Depot, repo_id: str, snapshot: str, commit: str) -> bytes:
    """The change as a patch that `git apply` takes, binaries included."""
    pair = (checked_object(snapshot), checked_object(commit))
    return depot.git(repo_id).must("diff", *_PLAIN, "--binary", *pair).out


def diff_stat(depot: Depot, repo_id: str, snapshot: str, commit: str) -> tuple[FileStat, ...]:
    """The changed files in the order of their names."""
    pair = (checked_object(snapshot), checked_object(commit))
    fields = depot.git(repo_id).must("diff", *_PLAIN, "--numstat", "-z", *pair).out.split(b"\0")
    found, words = [], iter(fields)
    for head in words:
        if head:
            added, removed, path = head.split(b"\t", 2)
            # An empty path announces a rename: old and new name follow.
            old = None if path else next(words)
            found.append(_stat(added, removed, path or next(words), old))
    return tuple(found)


def _stat(added: bytes, removed: bytes, path: bytes, old: bytes | None) -> FileStat:
    plus, minus = (None if count == b"-" else int(count) for count in (added, removed))
    return FileStat(shown(path), plus, minus, shown(old) if old is not None else None)
