"""Gives an attempt the git objects of its own snapshot, and none of another run.

What the base commit reaches is packed once and shared by all attempts that begin there; a later base adds
only what is new to the packs of an earlier one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from node_agent.wire.git import store_ref
from node_agent.workspace.folders import erase
from node_agent.workspace.gitrun import NodeGit

FOLDER = "stores"
"""In a mirror's folder; each is named by its commit."""
KEPT, MOST_PACKS = 4, 24
_NEW = "new-"
_PACK = ("pack-objects", "--revs", "--non-empty", "--delta-base-offset", "--window=0", "-q")
"""Without a search for deltas: those that the mirror has are taken as they are."""


def lend(mirror: Path, git_dir: Path, snapshot: str) -> Path | None:
    """Fill an attempt's new repository; the shared folder that it borrows from. Only under the mirror's lock.

    None: the snapshot has no commit below it, and all of it is in the repository itself.
    """
    git = NodeGit(mirror)
    with suppress(FileNotFoundError):
        shutil.copyfile(mirror / "shallow", git_dir / "shallow")
    parents = git.text("rev-list", "--max-count=1", "--parents", snapshot).split()[1:]
    store = _store(git, parents[0]) if parents else None
    pack = git_dir / "objects" / "pack" / "pack"
    # As the attempt's folder is made anew after a power loss, no sync is needed.
    revs = f"{snapshot}\n" + "".join(f"^{one}\n" for one in parents[:1])
    git.must("-c", "core.fsync=none", *_PACK, str(pack), stdin=revs.encode())
    if store is not None:
        (git_dir / "objects" / "info").mkdir(exist_ok=True)
        (git_dir / "objects" / "info" / "alternates").write_text(f"{store.resolve()}\n")
    return store


def _store(git: NodeGit, base: str) -> Path:
    every = git.git_dir / FOLDER
    target = every / base
    if target.is_dir():
        os.utime(target)
        return target
    every.mkdir(mode=0o700, exist_ok=True)
    for left in every.glob(f"{_NEW}*"):  # of one that was killed: nobody else has our lock
        erase(left)
    fresh = Path(tempfile.mkdtemp(prefix=_NEW, dir=every))
    packs = fresh / "pack"
    packs.mkdir()
    before = _earlier(git, every, base)
    for file in (before / "pack").iterdir() if before else ():
        os.link(file, packs / file.name)
    revs = f"{base}\n" + (f"^{before.name}\n" if before else "")
    git.must(*_PACK, str(packs / "pack"), stdin=revs.encode())
    os.rename(fresh, target)
    git.must("update-ref", store_ref(base), base)  # so that a later fetch does not bring all of it again
    return target


def _earlier(git: NodeGit, every: Path, base: str) -> Path | None:
    """The newest store of a commit below `base`: all that it holds is reached from there, too."""
    for one in _newest(every)[:KEPT]:
        few = len(list((one / "pack").glob("*.pack"))) < MOST_PACKS
        if few and git.ask("merge-base", "--is-ancestor", one.name, base).ok:
            return one
    return None


def trim(mirror: Path, keep: int = KEPT) -> None:
    """Let go of all but the newest. Only while no attempt borrows from them."""
    for one in _newest(mirror / FOLDER)[keep:]:
        NodeGit(mirror).ask("update-ref", "-d", store_ref(one.name))
        erase(one)


def _newest(every: Path) -> list[Path]:
    found = [one for one in every.iterdir() if not one.name.startswith(_NEW)] if every.is_dir() else []
    return sorted(found, key=lambda one: one.stat().st_mtime_ns, reverse=True)
