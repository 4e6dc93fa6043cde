"""Reads a coordinator's home into the contents of a copy while the fleet works, and fills a home from them.

The contents are a tar archive: the ledger, each repository of the depot as refs and a pack of the commits
that the base of the copy lacks, then all other files. A file that has not changed since the base is only
named.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, cast
from urllib.parse import quote

from pancode.backups.model import CopyIndex, Output
from pancode.backups.sealing import Opener
from pancode.fleet.ssh.home import OWN_KEY
from pancode.git.depot import GC, Depot
from pancode.git.runner import GitFailure
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.host.files import make_private
from pancode.kernel.unfinished_restore import RESTORING

LEDGER = "ledger.db"
NOT_COPIED = frozenset(
    {"valkey", "bundles", "run", "epoch", "backup", RESTORING, LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm"}
)
"""Entries of the home that a copy leaves out: they are made anew, or (the ledger) copied as a snapshot."""
DEPOTS, KEYS, _SUFFIX = "depots", "key", ".git"
_PACK, _OBJECTS = "objects/new.pack", "objects"
_KEPT = "run/kept"
"""The entry that names the unchanged files; no file of a home, as `run` is not copied."""
_PARTIAL = (".lock", ".part", ".new"), ("tmp_", ".new-", "pancode-")
"""How names of locks and unfinished files in the depots end and begin."""
_REFS = "%(objectname) %(refname)"
_BLOCK = 1 << 20


class ContentsError(PancodeError):
    """A copy contradicts itself, or its base lacks what it needs."""

    code = "copy_wrong"


@dataclass(slots=True)
class Contents:
    """The contents of one copy of a home. `before`: those of its base; `begun_ms`: when it was begun;
    `check`: called often, and may raise an error that ends the copy."""

    home: Path
    folder: Path
    before: CopyIndex
    begun_ms: int
    check: Callable[[], None] = lambda: None
    files: dict[str, str] = field(default_factory=dict)
    tips: dict[str, tuple[str, ...]] = field(default_factory=dict)
    count: int = 0
    size: int = 0
    _kept: list[str] = field(default_factory=list)

    def write(self, output: Output) -> None:
        """Write all of it.

        The ledger is read first, so that all that it names (commits, logs, receipts) is already stored. Of a
        repository the refs are read before the objects, and nothing is deleted there meanwhile. A file that
        is removed while the home is read is left out, unless it is a key; every other error is raised, as
        UnavailableError.
        """
        draft = self.folder / "draft"
        try:
            copy_ledger(self.home / LEDGER, draft)
            self._add_file(output, LEDGER, draft, always=True)
            self._add_folder(output, "", draft)
            if OWN_KEY not in self.files:  # no copy without it can be restored
                raise FileNotFoundError(f"{self.home / OWN_KEY} is missing, or is not a regular file")
            self._add(output, _KEPT, data=json.dumps(self._kept).encode())
            output.write(bytes(2 * tarfile.BLOCKSIZE))
        except OSError as exc:
            raise UnavailableError(
                "the home cannot be read completely",
                why=str(exc),
                fix=f"check permissions and the disk of {self.home}; then repeat the copy",
                code="backup_unreadable",
            ) from exc
        finally:
            draft.unlink(missing_ok=True)

    def _add(
        self,
        output: Output,
        path: str,
        kind: bytes = tarfile.REGTYPE,
        mode: int = 0o600,
        link: str = "",
        data: bytes = b"",
    ) -> None:
        self._begin(output, path, kind, mode, link, len(data))
        output.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))

    def _begin(self, output: Output, path: str, kind: bytes, mode: int, link: str, size: int) -> None:
        """Begin an entry, whose data follows."""
        self.check()
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, size
        output.write(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _add_file(self, output: Output, path: str, source: Path, always: bool = False) -> None:
        """Add a file of the disk. `always`: also if it has not changed; its stamp says nothing then."""
        try:
            handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            if always or path.partition("/")[0] in (DEPOTS, KEYS):
                raise
            return  # a log or a draft that was removed since it was listed
        with os.fdopen(handle, "rb") as reading:
            state = os.fstat(handle)
            self.count, self.size = self.count + 1, self.size + state.st_size
            mode = stat.S_IMODE(state.st_mode) & 0o777
            if not always:
                stamp = f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {mode:o}"
                # A file that was changed just now may change again within the same tick of the clock.
                is_old = 0 < state.st_ctime_ns < (self.begun_ms - 2_000) * 1_000_000
                self.files[path] = stamp if is_old else ""
                if is_old and self.before.files.get(path) == stamp:
                    self._kept.append(path)
                    return
            self._begin(output, path, tarfile.REGTYPE, mode, "", state.st_size)
            left = state.st_size  # a log may grow meanwhile
            while left and (block := reading.read(min(left, _BLOCK))):
                left -= output.write(block)
            if left:
                raise OSError(f"{source} has become shorter while it was read")
            output.write(bytes(-state.st_size % tarfile.BLOCKSIZE))

    def _add_folder(self, output: Output, folder: str, draft: Path) -> None:
        with os.scandir(self.home / folder) as found:
            entries = sorted(found, key=lambda one: one.name)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            is_key = path.partition("/")[0] == KEYS
            if not is_copied(folder, entry.name):
                continue
            try:
                # A folder of the home may be a link to another disk; its files belong to the copy.
                state = entry.stat(follow_symlinks=folder == "" and entry.is_dir())
                link = os.readlink(entry.path) if stat.S_ISLNK(state.st_mode) else ""
            except FileNotFoundError:
                if is_key:
                    raise
                continue
            if stat.S_ISDIR(state.st_mode):
                self._add(output, path, tarfile.DIRTYPE, mode=stat.S_IMODE(state.st_mode) & 0o777)
                is_repository = folder == DEPOTS and entry.name.endswith(_SUFFIX)
                with nullcontext() if is_key else suppress(FileNotFoundError):
                    (self._add_repository if is_repository else self._add_folder)(output, path, draft)
            elif stat.S_ISREG(state.st_mode):
                self._add_file(output, path, Path(entry.path))
            elif link:
                self._add(output, path, tarfile.SYMTYPE, link=link)

    def _add_repository(self, output: Output, path: str, draft: Path) -> None:
        depot, repo = Depot(self.home / DEPOTS), path.removeprefix(f"{DEPOTS}/").removesuffix(_SUFFIX)
        with depot.locked(repo, GC):  # git deletes no object meanwhile
            refs = depot.git(repo).text("for-each-ref", f"--format={_REFS}", "--sort=refname")
            tips = tuple(dict.fromkeys(line.split()[0] for line in refs.splitlines()))
            shallow = self.home / path / "shallow"  # read now: a fetch may complete the history meanwhile
            cut = shallow.read_bytes() if shallow.exists() else None
            for name in ("refs", _OBJECTS, "objects/pack"):
                self._add(output, f"{path}/{name}", tarfile.DIRTYPE, mode=0o700)
            for name in ("HEAD", "config"):
                self._add_file(output, f"{path}/{name}", self.home / path / name, always=True)
            if cut is not None:
                self._add(output, f"{path}/shallow", data=cut)
            text = f"# pack-refs with: sorted \n{refs}\n" if refs else ""
            self._add(output, f"{path}/packed-refs", data=text.encode())
            try:
                if depot.pack(repo, draft, tips, self.before.tips.get(repo, ())):
                    self._add_file(output, f"{path}/{_PACK}", draft, always=True)
                self.tips[repo] = tips
            except GitFailure:  # an object is missing: what is there is copied as it is
                self._add_folder(output, f"{path}/{_OBJECTS}", draft)

    def index(self, name: str) -> CopyIndex:
        return CopyIndex(name=name, files=self.files, tips=self.tips)


def is_copied(folder: str, name: str) -> bool:
    """Whether a copy includes this entry of a folder; `folder`: relative to the home, empty for the home."""
    if folder == "":
        return name not in NOT_COPIED
    ends, begins = _PARTIAL
    return folder.partition("/")[0] != DEPOTS or not (name.endswith(ends) or name.startswith(begins))


def copy_ledger(source: Path, target: Path) -> None:
    """Write a consistent snapshot of the ledger while it is in use. UnavailableError if that is not
    possible."""
    make_private(target.parent)
    target.unlink(missing_ok=True)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        reading = sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True, timeout=30)
        with closing(reading), closing(sqlite3.connect(target)) as writing:
            reading.backup(writing)
            # The copy has no side files: what is in it must be in the file itself.
            writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as exc:
        raise UnavailableError(
            "no snapshot of the ledger can be made",
            why=str(exc),
            fix="check the ledger and the disk space: pancode doctor",
            code="backup_ledger",
        ) from exc


# -- filling a home -----------------------------------------------------------------------------------------


def unpack(source: Opener, files: Path, notify: Callable[[int, int], None], of: int) -> Mapping[str, str]:
    """Apply the contents of a copy to a folder that has those of its base, or is empty. Return its symbolic
    links, which the caller makes at the end, so that no file is written through one. `notify`: called with
    the number of files. ContentsError."""
    there, links, kept, count = set[str](), dict[str, str](), list[str](), 0
    with tarfile.open(fileobj=cast(BinaryIO, source), mode="r|", bufsize=_BLOCK) as tar:
        while (entry := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep all in memory
            path, name = files / _check_path(entry.name), entry.name
            there.add(name)
            if entry.issym():
                links[name] = entry.linkname
            elif entry.isdir():
                if path.is_file():
                    path.unlink()
                path.mkdir(mode=0o700, exist_ok=True)
                path.chmod(entry.mode & 0o777 | 0o700)
            elif entry.isreg() and (reading := tar.extractfile(entry)) is not None:
                if name == _KEPT:
                    kept = json.loads(reading.read())
                    continue
                _write_file(path, entry.mode & 0o777, reading)
                if name.endswith(f"{_SUFFIX}/{_PACK}"):
                    Depot(files / DEPOTS).unpack(Path(name).parts[1].removesuffix(_SUFFIX), path)
                    path.unlink()
                count += 1
                notify(count, of)
            else:
                raise ContentsError("the copy has an entry of an unknown kind", why=repr(name[:200]))
    if lacks := next((one for one in kept if not (files / _check_path(one)).is_file()), None):
        raise ContentsError(
            "an earlier copy, which this one needs, is not complete", why=f"it lacks {lacks!r}"
        )
    if count < of:
        notify(of, of)
    _remove_others(files, {*there, *kept} - links.keys())
    return links


def _check_path(name: str) -> str:
    if name.startswith("/") or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ContentsError("the copy has an invalid path", why=repr(name[:200]))
    return name


def _write_file(path: Path, mode: int, reading: IO[bytes]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as writing:
        shutil.copyfileobj(reading, writing, _BLOCK)
        writing.flush()
        os.fchmod(handle, mode)
        os.fsync(handle)


def _remove_others(files: Path, there: Collection[str]) -> None:
    """Remove what bases of the copy had and the copy has not. Objects of repositories stay."""
    for folder, folders, names in os.walk(files):
        at = Path(folder).relative_to(files)
        for name in [*names, *folders]:
            path = str(at / name)
            if path not in there:
                if name in folders:
                    shutil.rmtree(files / path)
                    folders.remove(name)
                else:
                    (files / path).unlink()
        if at.parent == Path(DEPOTS) and _OBJECTS in folders:
            folders.remove(_OBJECTS)


def find_incomplete_repositories(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the repositories of a restored home in which an object of a ref is missing, with the reason."""
    depot = Depot(root / DEPOTS)
    for repo in depot.repositories():
        done = depot.git(repo).ask("rev-list", "--objects", "--all", "--quiet")
        if not done.ok:
            yield repo, done.err[:300]
