"""Finds the files of a conflict that a result has left unsettled, in the depot."""

from __future__ import annotations

from collections.abc import Iterable

from node_agent.wire.gitrefs import checked_object
from node_agent.wire.gitsafe import shown, split_nul
from pancode.adapters.git.depot import Depot
from pancode.adapters.git.errors import translated
from pancode.adapters.git.safe import Git
from pancode.domain.landing.settled import has_markers
from pancode.domain.landing.values import Conflict

_LINK, _FOLDER_OF_GIT = b"120000", b"160000"


@translated("the look at a settled conflict")
def unsettled(
    depot: Depot, repo: str, marked: str, result: str, files: Iterable[str]
) -> tuple[Conflict, ...]:
    """`marked`: the commit with both sides, whose parent is one's own side; `files`: what conflicts there."""
    git, marked = depot.git(repo), checked_object(marked)
    before, now = _files(git, marked), _files(git, checked_object(result))
    ours = _files(git, f"{marked}^")
    found = []
    for name in files:
        old, new = before.get(name), now.get(name)
        if old is not None and new == old:
            found.append(Conflict(name, "is as it was when the conflict began"))
        elif old and new and has_markers(*(_text(git, one) for one in (old, ours.get(name), new))):
            found.append(Conflict(name, "still has the markers of the conflict"))
    return tuple(found)


def _files(git: Git, commit: str) -> dict[str, tuple[bytes, str]]:
    """Mode and object of each file, by its name as faces show it."""
    rows = (row.partition(b"\t") for row in split_nul(git.must("ls-tree", "-r", "-z", commit).out))
    return {shown(name): (said.split()[0], said.split()[2].decode()) for said, _, name in rows}


def _text(git: Git, entry: tuple[bytes, str] | None) -> bytes:
    if entry is None or entry[0] in (_LINK, _FOLDER_OF_GIT):
        return b""
    return bytes(git.must("cat-file", "blob", entry[1]).out)
