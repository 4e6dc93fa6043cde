"""Very many new files are taken as packs, and how far that is is told."""

from __future__ import annotations

import pytest

from pancode.git.depot import Depot
from pancode.git.objects import BATCH
from pancode.git.snapshot import SnapshotOptions, take_snapshot
from tests.integration.git.repos import NOW_MS, Repo, snap, sound, tree_of


def _loose(depot: Depot, repo_id: str) -> int:
    return sum(1 for _ in (depot.path(repo_id) / "objects").glob("[0-9a-f][0-9a-f]/*"))


@pytest.mark.slow
def test_many_new_files_are_packs_and_not_a_loose_object_each(repo: Repo, depot: Depot) -> None:
    """A file of its own for each, made, synced and renamed, is what 100,000 new ones waited for."""
    names = [f"new/{number // 100}/{number}" for number in range(BATCH + 200)]
    for name in names:
        repo.write(name, f"{name}\n")
    repo.write("crlf", "a\r\nb\r\n")
    repo.write(".gitattributes", "crlf text\n")
    repo.write("empty", "")
    taken = snap(repo, depot)
    files = tree_of(depot, taken)
    assert {name: data for name, (_, data) in files.items() if name in set(names)} == {
        name: f"{name}\n".encode() for name in names
    }
    assert (files["crlf"][1], files["empty"][1]) == (b"a\nb\n", b""), "as git would have it, packed or not"
    # The folders, the commit, and the two that cannot go straight into a pack.
    assert _loose(depot, taken.repo_id) < 300
    assert len(list((depot.path(taken.repo_id) / "objects/pack").glob("*.pack"))) <= 3
    sound(depot, taken)


def test_the_words_come_between_the_batches(repo: Repo, depot: Depot) -> None:
    for number in range(3):
        repo.write(f"new{number}", f"{number}\n")
    told: list[tuple[int, int]] = []
    taken = take_snapshot(
        repo.path, depot, "r-aaaa", SnapshotOptions(NOW_MS, progress=lambda done, of: told.append((done, of)))
    )
    assert told == [(0, 3), (3, 3)]
    sound(depot, taken)
