"""The git objects that an attempt sees: its own snapshot's, from packs that attempts share."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from node_agent.attempt.ports import CommitStamp
from node_agent.wire.job import Workspace
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from pancode.git.snapshot import Snapshot
from tests.integration.git.repos import NOW_MS, Repo, attempt, snap, workspace_of


def _every_blob(tree: Path) -> str:
    agent = Repo(tree, init=False)
    listed = agent.git("cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)")
    names = [line.split()[1] for line in listed.splitlines() if line.startswith("blob")]
    return "\n".join(["", *(agent.git("cat-file", "blob", name) for name in names), ""])


def _dispatched(repo: Repo, depot: Depot, run: str) -> Workspace:
    return workspace_of(snap(repo, depot, run))


def test_an_attempt_sees_no_object_of_another_dispatch(
    spaces: Workspaces, repo: Repo, depot: Depot, taken: Snapshot
) -> None:
    """Whatever the mirror of their repository holds of both."""
    secret = repo.write("untracked.txt", "secret of one run\n")
    first = spaces.prepare(attempt("r-bbbb"), _dispatched(repo, depot, "r-bbbb"))
    assert "secret of one run" in _every_blob(first)
    secret.unlink()
    repo.write("own.txt", "of the second\n")
    second = _dispatched(repo, depot, "r-cccc")
    told = _every_blob(spaces.prepare(attempt("r-cccc"), second))
    assert "\nof the second\n" in told and "\n1\n" in told and "secret of one run" not in told
    shown = spaces.repository(attempt("r-cccc"), second)
    assert not any(mirror_objects in shown for mirror_objects in _object_folders(spaces, taken))


def _object_folders(spaces: Workspaces, taken: Snapshot) -> list[Path]:
    mirror = spaces.tree(attempt()).parents[2] / "mirrors" / taken.repo_id
    return [mirror, mirror / "objects"]


def test_a_later_base_adds_what_is_new_and_nothing_of_a_branch_beside_it(
    spaces: Workspaces, repo: Repo, depot: Depot
) -> None:
    one = spaces.prepare(attempt("r-bbbb"), _dispatched(repo, depot, "r-bbbb"))
    repo.git("checkout", "-q", "-b", "beside")
    repo.write("beside.txt", "beside\n")
    repo.commit()
    beside = spaces.prepare(attempt("r-cccc"), _dispatched(repo, depot, "r-cccc"))
    repo.git("checkout", "-q", "main")
    repo.write("later.txt", "later\n")
    repo.commit()
    later = spaces.prepare(attempt("r-dddd"), _dispatched(repo, depot, "r-dddd"))
    assert "beside" in _every_blob(beside) and "beside" not in _every_blob(later)
    assert "later" in _every_blob(later)
    stores = [Path((tree.parent / "store").read_text()) for tree in (one, later)]
    packs = [{pack.stat().st_ino for pack in (store / "pack").glob("*.pack")} for store in stores]
    assert packs[0] < packs[1], "the earlier packs are the same files"


def test_a_torn_store_is_made_anew(spaces: Workspaces, repo: Repo, depot: Depot) -> None:
    wanted = _dispatched(repo, depot, "r-bbbb")
    tree = spaces.prepare(attempt("r-bbbb"), wanted)
    store = Path((tree.parent / "store").read_text())
    spaces.remove(attempt("r-bbbb"), wanted)
    shutil.rmtree(store / "pack")
    assert (spaces.prepare(attempt("r-bbbb"), wanted) / "f3").read_text() == "3\n"


def test_only_the_newest_stores_are_kept_once_nobody_borrows(
    spaces: Workspaces, repo: Repo, depot: Depot
) -> None:
    store = Path()
    for number in range(6):
        wanted = _dispatched(repo, depot, f"r-bbb{number}")
        tree = spaces.prepare(attempt(f"r-bbb{number}"), wanted)
        store = Path((tree.parent / "store").read_text())
        spaces.remove(attempt(f"r-bbb{number}"), wanted)
        repo.commit("another base")
    assert len(list(store.parent.iterdir())) == 6
    spaces.trim_mirrors(time.time_ns() // 1_000_000)
    left = list(store.parent.iterdir())
    assert len(left) == 4 and store in left


def test_a_mirror_that_was_not_used_for_two_weeks_goes(
    spaces: Workspaces, repo: Repo, depot: Depot, taken: Snapshot, tmp_path: Path
) -> None:
    """Not while a checkout borrows from it, or has put its result aside there."""
    wanted, mirror = workspace_of(taken), tmp_path / "node" / "mirrors" / taken.repo_id
    later_ms = time.time_ns() // 1_000_000 + 15 * 86_400_000
    tree = spaces.prepare(attempt(), wanted)
    spaces.trim_mirrors(later_ms)
    assert mirror.is_dir(), "a checkout borrows from it"
    (tree / "wip").write_text("unfinished")
    spaces.salvage(attempt(), wanted, CommitStamp("result", NOW_MS))
    spaces.remove(attempt(), wanted)
    spaces.trim_mirrors(later_ms)
    assert mirror.is_dir(), "it has what could not be delivered"
    spaces.forget(attempt(), wanted)
    spaces.trim_mirrors(later_ms - 2 * 86_400_000)
    assert mirror.is_dir(), "it was used 13 days ago"
    spaces.trim_mirrors(later_ms)
    assert not mirror.exists()
    assert spaces.prepare(attempt("r-bbbb"), _dispatched(repo, depot, "r-bbbb")).is_dir()


def test_what_an_earlier_run_brought_is_not_brought_again(
    spaces: Workspaces, repo: Repo, depot: Depot, taken: Snapshot, tmp_path: Path
) -> None:
    """Once it is removed, the mirror still names the commit that it began at."""
    repo.write("large", os.urandom(1 << 20))
    repo.commit("a large one")
    mirror = tmp_path / "node" / "mirrors" / taken.repo_id
    sizes = []
    for run in ("r-bbbb", "r-cccc"):
        wanted = _dispatched(repo, depot, run)
        spaces.prepare(attempt(run), wanted)
        spaces.remove(attempt(run), wanted)
        packs = (mirror / "objects").rglob("*")
        sizes.append(sum(path.stat().st_size for path in packs if path.is_file()))
        repo.write("small", "another\n")
    assert sizes[1] - sizes[0] < 100_000
