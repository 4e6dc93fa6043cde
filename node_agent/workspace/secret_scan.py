"""Finds the values of secrets in what a result commit adds to its snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from node_agent.vault.redact import found_in, secret_values
from node_agent.wire.git import parse_raw_diff, shown
from node_agent.workspace.errors import WorkspaceFailure
from node_agent.workspace.gitrun import NodeGit

MOST_BYTES = 256 << 20
"""Of all files together that are looked through."""
MOST_FOUND = 20


def exposed(
    out: NodeGit, folder: Path, commits: tuple[str, str], hidden: Mapping[str, str]
) -> list[tuple[str, str]]:
    """(name of the secret, file), of values that the snapshot's own file does not have already.

    `commits`: the snapshot, the result. WorkspaceFailure for more than can be looked through.
    """
    if not secret_values(hidden):
        return []
    raw = out.must("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", *commits).out
    changes = [one for one in parse_raw_diff(raw) if one.new_mode.startswith("100")]
    new = _known(out, folder, [one.new for one in changes], hidden)
    having = [one for one in changes if new[one.new]]
    old = _known(out, folder, [one.old for one in having if one.old.strip("0")], hidden)
    found = [
        (name, shown(one.path)) for one in having for name in new[one.new] if name not in old.get(one.old, ())
    ]
    return found[:MOST_FOUND]


def _known(
    out: NodeGit, folder: Path, oids: list[str], hidden: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """The names of the secrets in each of these files, one of which is in memory at a time."""
    asked = "".join(f"{oid}\n" for oid in dict.fromkeys(oids)).encode()
    sizes = out.must("cat-file", "--batch-check=%(objectsize)", stdin=asked).text().split()
    if sum(int(size) for size in sizes) > MOST_BYTES:
        raise WorkspaceFailure(
            f"more than {MOST_BYTES >> 20} MiB of changed files: not looked through for secrets"
        )
    place = folder / "exposed.batch"
    try:
        out.must("cat-file", "--batch", stdin=asked, stdout=place)
        return {oid: found_in(text, hidden) for oid, text in _batch(place)}
    finally:
        place.unlink(missing_ok=True)


def _batch(place: Path) -> Iterator[tuple[str, bytes]]:
    with place.open("rb") as file:
        while head := file.readline().split():
            yield head[0].decode(), file.read(int(head[2]))
            file.read(1)
