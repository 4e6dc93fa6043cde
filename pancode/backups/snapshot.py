"""Reads the coordinator's home for a copy while the fleet works: ledger, depots, then all other files."""

from __future__ import annotations

import io
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from pancode.backups.rules import DEPOTS, is_copied
from pancode.git.depot import GC, Depot
from pancode.kernel.errors import UnavailableError
from pancode.kernel.host.files import make_private, sync_folder

LEDGER = "ledger.db"
DRAFT = "ledger.part"
"""The snapshot of the ledger, in the coordinator's own folder of backups; removed after each copy."""
SHALLOW = "shallow"
"""The file of a repository that names the commits at which its history is cut."""
_SUFFIX = ".git"
_REFS = "%(objectname) %(refname)"
_PACK = (".idx", ".rev", ".bitmap", ".mtimes")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file, folder or link of the home. `path`: relative, as the system names it. `data`: the file's bytes
    if they are not those of the file on disk. `source`: the file on disk."""

    path: str
    kind: str
    mode: int = 0o700
    source: Path | None = None
    data: bytes | None = None
    link: str = ""

    def open(self) -> BinaryIO:
        """Open the file. Raises OSError."""
        if self.data is not None:
            return io.BytesIO(self.data)
        assert self.source is not None
        handle = os.open(self.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return os.fdopen(handle, "rb")


class HomeSnapshot:
    """The files of one home. `read` takes the snapshot; it may be used once per object."""

    def __init__(self, root: Path, folder: Path) -> None:
        """`folder`: where the snapshot of the ledger is written; it is in the same home."""
        self._root, self._draft = root, folder / DRAFT

    def read(self) -> Iterator[FoundFile]:
        """Yield all files, each folder before what it contains.

        The ledger is read first, so that all that it names (commits, logs, receipts) is already stored. Of a
        repository the refs are read before the objects, and nothing is deleted there meanwhile. A file that
        is removed while the home is read is left out; every other error is raised, as UnavailableError.
        """
        try:
            self._draft.unlink(missing_ok=True)
            copy_ledger(self._root / LEDGER, self._draft)
            yield FoundFile(LEDGER, "file", 0o600, self._draft)
            yield from self._read_folder("")
        except OSError as exc:
            raise UnavailableError(
                "the home cannot be read completely",
                why=str(exc),
                fix=f"check permissions and the disk of {self._root}; then repeat the copy",
                code="backup_unreadable",
            ) from exc
        finally:
            self._draft.unlink(missing_ok=True)

    def _read_folder(self, folder: str) -> Iterator[FoundFile]:
        with os.scandir(self._root / folder) as found:
            entries = sorted(found, key=lambda one: one.name)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not is_copied(folder, entry.name):
                continue
            try:
                # A folder of the home may be a link to another disk; its files belong to the copy.
                state = entry.stat(follow_symlinks=folder == "" and entry.is_dir())
                link = os.readlink(entry.path) if stat.S_ISLNK(state.st_mode) else ""
            except FileNotFoundError:
                continue
            mode = stat.S_IMODE(state.st_mode) & 0o777
            if folder == DEPOTS and entry.name.endswith(_SUFFIX) and stat.S_ISDIR(state.st_mode):
                yield from self._read_repository(path, mode)
            elif stat.S_ISDIR(state.st_mode):
                yield FoundFile(path, "folder", mode)
                with suppress(FileNotFoundError):
                    yield from self._read_folder(path)
            elif stat.S_ISREG(state.st_mode):
                yield FoundFile(path, "file", mode, Path(entry.path))
            elif link:
                yield FoundFile(path, "link", link=link)

    def _read_repository(self, path: str, mode: int) -> Iterator[FoundFile]:
        depot, repo = Depot(self._root / DEPOTS), path.removeprefix(f"{DEPOTS}/").removesuffix(_SUFFIX)
        with depot.locked(repo, GC):  # git deletes no object meanwhile
            refs = depot.git(repo).text("for-each-ref", f"--format={_REFS}", "--sort=refname")
            yield FoundFile(path, "folder", mode)
            yield FoundFile(f"{path}/refs", "folder", mode)
            with suppress(FileNotFoundError):  # read now: a fetch may complete the history meanwhile
                shallow = (self._root / path / SHALLOW).read_bytes()
                yield FoundFile(f"{path}/{SHALLOW}", "file", 0o600, data=shallow)
            text = f"# pack-refs with: sorted \n{refs}\n" if refs else ""
            yield FoundFile(f"{path}/packed-refs", "file", 0o600, data=text.encode())
            for name in ("HEAD", "config"):
                yield FoundFile(f"{path}/{name}", "file", 0o600, self._root / path / name)
            yield FoundFile(f"{path}/objects", "folder", mode)
            found = list(self._read_folder(f"{path}/objects"))
            packs = {one.path.removesuffix(".pack") for one in found if one.path.endswith(".pack")}
            for one in found:
                # an index may have been listed although its new pack was not
                stem, suffix = os.path.splitext(one.path)
                if suffix not in _PACK or stem in packs:
                    yield one


def copy_ledger(source: Path, target: Path) -> None:
    """Write a consistent snapshot of the ledger while it is in use. UnavailableError if that is not
    possible."""
    make_private(target.parent)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        reading = sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True, timeout=30)
        with closing(reading), closing(sqlite3.connect(target)) as writing:
            reading.backup(writing)
            # The copy has no side files: what is in it must be in the file itself.
            writing.execute("PRAGMA journal_mode=DELETE")
        sync_folder(target.parent)
    except sqlite3.Error as exc:
        target.unlink(missing_ok=True)
        raise UnavailableError(
            "no snapshot of the ledger can be made",
            why=str(exc),
            fix="check the ledger and the disk space: pancode doctor",
            code="backup_ledger",
        ) from exc


def find_incomplete_repositories(root: Path) -> dict[str, str]:
    """Return the repositories of a restored home in which an object of a ref is missing, with the reason."""
    depot, found = Depot(root / DEPOTS), dict[str, str]()
    for repo in depot.repositories():
        done = depot.git(repo).ask("rev-list", "--objects", "--all", "--quiet")
        if not done.ok:
            found[repo] = done.err[:300]
    return found
