"""Creates an attempt's own checkout: the git dir is outside the tree; nothing it could corrupt is shared.

The checkout of a finished attempt of the same repository is reused if there is one: only files unchanged
since git wrote them stay, and the rest is removed and written again.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from node_agent.attempt.ports import StepFailed
from node_agent.files.walk import WalkedName, walk_tree
from node_agent.wire.git import list_parents, repository_config
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Workspace
from node_agent.wire.keep import KEEP, KeepBound
from node_agent.workspace.eviction import KeptFolder, measure_folder, select_evicted, used_ms
from node_agent.workspace.folders import AttemptFolders, WorkspaceFolders, change_owner, erase, must_be_folder
from node_agent.workspace.git import NodeGit, WorkspaceFailure
from node_agent.workspace.mirror import PACK, Mirrors, lay_out_repository

ObjectFormat = Literal["sha1", "sha256"]
_HEAD = struct.Struct(">4sLL")
_STAT = struct.Struct(">10L")
_FLAGS = struct.Struct(">H")
_OID_BYTES = {"sha1": 20, "sha256": 32}
_LONG_NAME = 0xFFF
_WORD = 0xFFFFFFFF
_BILLION = 1_000_000_000
_NEVER = bytes(_STAT.size)
_MODE_AT = 24
_SUBMODULE = 0o160000


class Index:
    """The bytes of one git index, version 2. Raises WorkspaceFailure for any other version.

    An entry is identified by its offset in the bytes: a large repository has 100,000 entries, and an object
    for each would need more memory than the index itself.
    """

    def __init__(self, data: bytes, object_format: ObjectFormat) -> None:
        self._data, self._format = bytearray(data), object_format
        try:
            self._entries = array("L", self._yield_offsets())
        except (struct.error, ValueError) as exc:
            raise WorkspaceFailure(f"cannot read the index of the checkout: {exc}") from exc

    def _yield_offsets(self) -> Iterator[int]:
        magic, version, count = _HEAD.unpack_from(self._data)
        if (magic, version) != (b"DIRC", 2):
            raise ValueError(f"unsupported version {version}, must be 2")
        at = _HEAD.size
        for _ in range(count):
            yield at
            at += (self._name(at).stop - at + 8) & ~7

    def _name(self, entry: int) -> slice:
        flags_at = entry + _STAT.size + _OID_BYTES[self._format]
        begin = flags_at + _FLAGS.size
        length = _FLAGS.unpack_from(self._data, flags_at)[0] & _LONG_NAME
        return slice(begin, begin + length if length < _LONG_NAME else self._data.index(b"\0", begin))

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """Yield each path with the offset of its entry."""
        return ((bytes(self._data[self._name(entry)]), entry) for entry in self._entries)

    def _read_mode(self, entry: int) -> int:
        return int.from_bytes(self._data[entry + _MODE_AT : entry + _MODE_AT + 4], "big")

    def is_submodule(self, entry: int) -> bool:
        return self._read_mode(entry) == _SUBMODULE

    def is_same(self, entry: int, seen: os.stat_result) -> bool:
        """Whether this file is unchanged since git wrote it. Its change time (ctime) shows this: the kernel
        also sets it for a change of mode, attributes or hard links, and no program can set it back."""
        return self._data[entry : entry + _STAT.size] == _stamp(self._read_mode(entry), seen)

    def note(self, entry: int, seen: os.stat_result | None) -> None:
        """Record the file's present state; None: the file is missing, or differs from what git wrote."""
        mode = self._read_mode(entry)
        stamp = _NEVER[:_MODE_AT] + mode.to_bytes(4, "big") + _NEVER[_MODE_AT + 4 :]
        self._data[entry : entry + _STAT.size] = stamp if seen is None else _stamp(mode, seen)

    def attributes(self) -> dict[bytes, bytes]:
        """Return the .gitattributes files, which decide which bytes a checkout writes for an object."""
        names = (b".gitattributes", b"/.gitattributes")
        found = ((path, at + _STAT.size) for path, at in self if path == names[0] or path.endswith(names[1]))
        return {path: bytes(self._data[oid : oid + _OID_BYTES[self._format]]) for path, oid in found}

    def data(self) -> bytes:
        """Return the bytes of the index with their checksum."""
        size = _OID_BYTES[self._format]
        self._data[-size:] = hashlib.new(self._format, memoryview(self._data)[:-size]).digest()
        return bytes(self._data)


def _stamp(mode: int, seen: os.stat_result) -> bytes:
    """Return stat fields as git packs them: times, device, inode, mode, uid, gid, size; low 32 bits each."""
    return _STAT.pack(
        seen.st_ctime_ns // _BILLION & _WORD,
        seen.st_ctime_ns % _BILLION,
        seen.st_mtime_ns // _BILLION & _WORD,
        seen.st_mtime_ns % _BILLION,
        seen.st_dev & _WORD,
        seen.st_ino & _WORD,
        mode,
        seen.st_uid,
        seen.st_gid,
        seen.st_size & _WORD,
    )


MOST_KEPT = 4
"""The most checkouts that a node stores for later attempts."""
TICK_S, TICKS = 0.002, 25
"""How long, and how often, to wait for the file system's clock, which older kernels advance every 1-10 ms."""


@dataclass(frozen=True, slots=True)
class KeptCheckout:
    """The facts about a checkout that are only in this process's memory, where no agent can change them."""

    repo: str
    object_format: ObjectFormat
    digest: str
    """The digest of the index that git wrote with the checkout."""
    folder_mode: int
    owner: int
    folders: str = ""
    """A digest of the state of the checkout's folders while it is stored."""


class WarmCheckouts:
    """Cleaned checkouts under `root`. Thread-safe. `trim` erases the leftovers of an earlier node agent."""

    def __init__(
        self,
        root: Path,
        has_room: Callable[[], bool],
        most: int = MOST_KEPT,
        bound: KeepBound = KEEP.checkouts,
    ) -> None:
        self._root, self._has_room, self._most, self._bound = root, has_room, most, bound
        self._lock = threading.Lock()
        self._known: dict[Path, KeptCheckout] = {}
        """The checkouts of running attempts, by the attempt's folder."""
        self._waiting: dict[Path, KeptCheckout] = {}
        """The stored checkouts by their folder below `root`, the oldest first."""
        self._busy: set[Path] = set()
        """Folders below `root` that a call is using."""

    def remember(self, places: AttemptFolders, repo: str, object_format: ObjectFormat) -> None:
        """Record how git left the attempt's checkout. Call before any process of the attempt starts."""
        data = (places.git / "index").read_bytes()
        places.index.write_bytes(data)
        mode = os.stat(places.git / "refs").st_mode
        if _clock_moved(places.index):
            with self._lock:
                self._known[places.folder] = KeptCheckout(
                    repo, object_format, _hash_data(data), mode, os.geteuid()
                )

    def give(self, places: AttemptFolders, owner: int) -> None:
        """Give the checkout to the user `owner`, and record the new state of unchanged files. Call only while
        no process of the attempt is running."""
        with self._lock:
            kept = self._known.pop(places.folder, None)
        if kept is None or not self._give_checkout(places, kept, owner):
            change_owner(places.tree, owner)

    def _give_checkout(self, places: AttemptFolders, kept: KeptCheckout, owner: int) -> bool:
        try:
            index = _load_trusted(places.index, kept)
            entries = dict(index)
            os.chown(places.tree, owner, owner, follow_symlinks=False)
            for one in walk_tree(places.tree):
                entry = None if one.is_folder else entries.get(_path_of(one))
                _give_file(one, owner, index, entry if _is_untouched(one, entry, index) else None)
            places.index.write_bytes(data := index.data())
        except (OSError, StepFailed):
            return False
        if _clock_moved(places.index):
            with self._lock:
                self._known[places.folder] = replace(kept, digest=_hash_data(data), owner=owner)
        return True

    def move(self, places: AttemptFolders, to: AttemptFolders) -> None:
        """Rename the attempt's folder. Call only while no process of the attempt is running."""
        os.rename(places.folder, to.folder)
        with self._lock:
            kept = self._known.pop(places.folder, None)
            if kept is not None:
                self._known[to.folder] = kept

    def keep(self, places: AttemptFolders, name: str = "") -> bool:
        """Clean the checkout and store it for later attempts. False: that is impossible, and the caller
        removes the rest. Call only while no process of the attempt is running."""
        there = self._root / (name or places.folder.name)
        with self._lock:
            kept = self._known.pop(places.folder, None)
        if kept is None or not self._has_room():
            return False
        with self._hold_checkout(there), suppress(OSError, StepFailed):
            # `there` contains the cleaned checkout and its index
            index = _load_trusted(places.index, kept)
            _remove_changed(places.tree, index, kept)
            erase(there)
            there.mkdir(mode=0o700, parents=True)
            data = index.data()
            (there / "index").write_bytes(data)
            os.rename(places.tree, there / "tree")
            washed = replace(
                kept,
                digest=_hash_data(data),
                owner=os.geteuid(),
                folders=_hash_folders(there / "tree", index),
            )
            with self._lock:
                self._waiting[there] = washed
                dropped = list(self._waiting)[: -self._most]
                for one in dropped:
                    del self._waiting[one]
            for one in dropped:
                erase(one)
            return True
        return False

    def take(self, places: AttemptFolders, repo: str, object_format: ObjectFormat) -> Index | None:
        """Move the repository's newest stored checkout to the attempt's tree. Return its index, or None if
        there is no checkout. `read-tree --reset -u` with that index writes what is missing or differs."""
        wanted = repo, object_format
        with self._lock:
            fitting = [at for at, one in self._waiting.items() if (one.repo, one.object_format) == wanted]
            if not fitting:
                return None
            there = fitting[-1]
            kept = self._waiting.pop(there)
        with self._hold_checkout(there):
            try:
                return _moved_back(there, places, kept)
            except (OSError, StepFailed):
                return None
            finally:
                with suppress(OSError, StepFailed):  # `trim` tries to erase it again
                    erase(there)

    def date_as_new(self, places: AttemptFolders, repo: str, object_format: ObjectFormat) -> None:
        """Set each file's time to now, as in a new checkout, since `make` compares it with the times of
        set-up's files. Call before any process of the attempt starts."""
        index = Index((places.git / "index").read_bytes(), object_format)
        for path, entry in index:
            if not index.is_submodule(entry):
                file = os.path.join(os.fsencode(places.tree), path)
                os.utime(file, follow_symlinks=False)
                index.note(entry, os.lstat(file))
        (places.git / "index").write_bytes(index.data())
        self.remember(places, repo, object_format)

    def trim(self, now_ms: int) -> None:
        """Erase checkouts that are too old or together too large, and leftovers of crashes; erase all
        checkouts if disk space is low."""
        has_room = self._has_room()
        with self._lock:
            waiting = [*self._waiting]
        kept = [KeptFolder(str(one), used_ms(one), measure_folder(one, self._bound)) for one in waiting]
        old = select_evicted(kept, self._bound, now_ms)
        with self._lock:
            for one in waiting:
                if not has_room or str(one) in old:
                    self._waiting.pop(one, None)
            names = os.listdir(self._root) if self._root.is_dir() else []
            gone = {self._root / name for name in names} - self._waiting.keys() - self._busy
        for path in gone:
            with suppress(OSError, StepFailed):  # the next call of `trim` tries again
                erase(path)

    @contextmanager
    def _hold_checkout(self, there: Path) -> Iterator[None]:
        with self._lock:
            self._busy.add(there)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(there)


def _moved_back(there: Path, places: AttemptFolders, kept: KeptCheckout) -> Index:
    """Move a stored checkout back if its folders are unchanged (nothing added). Git finds changed files."""
    index = _load_trusted(there / "index", kept)
    if _hash_folders(there / "tree", index) != kept.folders:
        raise WorkspaceFailure("a stored checkout was modified")
    os.rename(there / "tree", places.tree)  # this replaces an empty folder
    return index


def _hash_data(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _load_trusted(path: Path, kept: KeptCheckout) -> Index:
    data = path.read_bytes()
    if _hash_data(data) != kept.digest:
        raise WorkspaceFailure("the index of the stored checkout has changed since it was written")
    return Index(data, kept.object_format)


def _clock_moved(path: Path) -> bool:
    """Wait until a new change would get a later time than all writes so far. False if that takes too long."""
    before = os.stat(path).st_ctime_ns
    for _ in range(TICKS):
        os.utime(path)
        if os.stat(path).st_ctime_ns > before:
            return True
        time.sleep(TICK_S)
    return False


def _path_of(one: WalkedName) -> bytes:
    return os.fsencode("/".join((*one.way, one.name)))


def _give_file(one: WalkedName, owner: int, index: Index, entry: int | None) -> None:
    """Make `owner` the owner of a name, and record the new state of the entry's unchanged file."""
    os.chown(one.name, owner, owner, dir_fd=one.at, follow_symlinks=False)
    if entry is not None:
        index.note(entry, os.stat(one.name, dir_fd=one.at, follow_symlinks=False))


def _remove_changed(tree: Path, index: Index, kept: KeptCheckout) -> None:
    """Remove everything that git did not write or that has changed, and mark in the index what is missing.

    The node agent owns the remaining files again. Raises OSError or WorkspaceFailure if cleaning fails.
    """
    folders, missing, own = _list_folders(index), dict(index), os.geteuid()
    _must_be_plain(str(tree), stat.S_IFDIR | 0o700, kept.owner)
    for one in walk_tree(tree, opening=True):
        path = _path_of(one)
        if one.is_folder and path in folders:
            _must_be_plain(f"/proc/self/fd/{one.at}/{one.name}", kept.folder_mode, kept.owner)
        elif one.is_folder:
            os.rmdir(one.name, dir_fd=one.at)
            continue
        elif not _is_untouched(one, missing.get(path), index):
            os.unlink(one.name, dir_fd=one.at)
            continue
        entry = missing.pop(path, None)
        if kept.owner != own:
            _give_file(one, own, index, entry)
    for left in missing.values():
        index.note(left, None)
    if kept.owner != own:
        os.chown(tree, own, own, follow_symlinks=False)


def _is_untouched(one: WalkedName, entry: int | None, index: Index) -> bool:
    if entry is None or index.is_submodule(entry):
        return False
    return index.is_same(entry, os.stat(one.name, dir_fd=one.at, follow_symlinks=False))


def _list_folders(index: Index) -> set[bytes]:
    """Return the folders that the checkout should contain; for a submodule only its own, empty folder."""
    found = {folder for path, _ in index for folder in list_parents(path)}
    return found | {path for path, entry in index if index.is_submodule(entry)}


def _hash_folders(tree: Path, index: Index) -> str:
    """Return a digest that changes when a folder's mode changes, or when an entry is added or removed."""
    top, digest = os.fsencode(tree), hashlib.sha256()
    for folder in (b"", *sorted(_list_folders(index))):
        with suppress(FileNotFoundError):  # git removed the folder after all its files were removed
            seen = os.lstat(top + b"/" + folder)
            digest.update(b"%s\0%d %d %d\0" % (folder, seen.st_ino, seen.st_ctime_ns, seen.st_mode))
    return digest.hexdigest()


def _must_be_plain(folder: str, mode: int, owner: int) -> None:
    """Raise WorkspaceFailure unless a folder is as git made it: mode, owner, no ACL or extended attribute."""
    seen = os.lstat(folder)
    if (seen.st_mode, seen.st_uid) != (mode, owner):
        raise WorkspaceFailure("a folder of the checkout has a changed mode or owner")
    names = os.listxattr(folder, follow_symlinks=False)
    if not all(name.startswith("security.") for name in names):
        raise WorkspaceFailure("a folder of the checkout has extended attributes")


# Not `git worktree`, with which an agent could write the configuration and hooks of every other checkout.
_AGENT_CONFIG = (
    "[user]\n\tname = PanCode agent\n\temail = agent@pancode.invalid\n[advice]\n\tdetachedHead = false\n"
)
_NO_SYNC = ("-c", "core.fsync=none")
"""Git need not sync here: after a power failure the attempt's folder is made again."""
_READ_TREE = (*_NO_SYNC, "read-tree", "--reset", "-u")
"""Writes the files that differ from the index. Unlike `checkout`, it fails if an object is missing."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Checkouts:
    """Creates checkouts for attempts; each call may be repeated after a crash at any point."""

    def __init__(self, home: WorkspaceFolders, mirrors: Mirrors, warm: WarmCheckouts) -> None:
        self._home = home
        self._mirrors = mirrors
        self._warm = warm

    def prepare(self, identity: AttemptId, workspace: Workspace) -> Path:
        """Return the folder in which the agent works. A folder left incomplete by a crash is made again."""
        places = self._home.places(identity)
        if workspace.kind == "none":  # creating an empty folder is as fast as checking it
            self.make(identity, workspace, places)
            return places.tree
        # After a power failure files may be empty, so `ready` contains the job's workspace and the boot id.
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        mark = json.dumps({"boot": boot, "workspace": workspace.model_dump(mode="json")}, sort_keys=True)
        if places.ready.is_file() and places.ready.read_text() == mark:
            must_be_folder(places.tree)
            return places.tree
        try:
            self.make(identity, workspace, places)
        except WorkspaceFailure:
            if workspace.repo is None or any(other != identity for other in self._home.attempts()):
                raise  # another attempt borrows objects from this mirror
            if self._mirrors.sound(workspace.repo):
                self._mirrors.drop_stores(workspace.repo)
            else:
                self._mirrors.renew(workspace.repo)
            self.make(identity, workspace, places)
        places.ready.write_text(mark)
        return places.tree

    def make(
        self,
        identity: AttemptId,
        workspace: Workspace,
        places: AttemptFolders,
        result: tuple[Path, str] | None = None,
    ) -> None:
        """Create the folders anew, with the snapshot checked out. `result`: instead, a commit that builds on
        the snapshot, and the repository that has the commit."""
        erase(places.folder)
        places.folder.mkdir(mode=0o700, parents=True)
        places.tree.mkdir(mode=0o700)
        if workspace.kind == "none":
            return
        if result is None:
            self.fetch(identity, workspace)
        repo_id, commit = _split_workspace(workspace)
        branch, object_format = f"refs/heads/pancode/{identity.run}", workspace.object_format
        lay_out_repository(places.git, branch)
        (places.git / "config").write_text(repository_config(object_format, bare=False) + _AGENT_CONFIG)
        store = self._mirrors.lend(repo_id, places.git, commit)
        if store is not None:
            places.store.write_text(str(store))
        if result is not None:
            snapshot, (out, commit) = commit, result
            pack, revs = places.git / "objects" / "pack" / "pack", f"{commit}\n^{snapshot}\n"
            NodeGit(out).must(*_NO_SYNC, *PACK, str(pack), stdin=revs.encode())
            workspace = workspace.model_copy(update={"snapshot": commit})
        (places.git / branch).parent.mkdir()
        (places.git / branch).write_text(f"{commit}\n")
        if not self._reuse_checkout(places, workspace):
            NodeGit(places.git, places.tree).must(*_READ_TREE, commit)
        self._warm.remember(places, repo_id, object_format)
        # Written last: until then, git commands in the tree find no repository.
        (places.tree / ".git").write_text(f"gitdir: {places.git.resolve()}\n")

    def fetch(self, identity: AttemptId, workspace: Workspace) -> None:
        """Fetch the attempt's snapshot into the mirror, if the workspace has one."""
        if workspace.kind == "git":
            self._mirrors.bring(identity, *_split_workspace(workspace), workspace.object_format)

    def _reuse_checkout(self, places: AttemptFolders, workspace: Workspace) -> bool:
        """Update a stored checkout to the snapshot; return whether this worked. If not, the tree is empty."""
        repo_id, commit = _split_workspace(workspace)
        before = self._warm.take(places, repo_id, workspace.object_format)
        if before is None:
            return False
        index = places.git / "index"
        try:
            index.write_bytes(before.data())
            attributes = before.attributes()
            del before  # the index takes megabytes for a large repository
            NodeGit(places.git, places.tree).must(*_READ_TREE, commit)
            now = Index(index.read_bytes(), workspace.object_format)
            if now.attributes() == attributes:
                return True  # otherwise git might have to write other bytes for the same objects
        except WorkspaceFailure:
            pass
        index.unlink()
        erase(places.tree)
        places.tree.mkdir(mode=0o700)
        return False

    def date_as_new(self, identity: AttemptId, workspace: Workspace) -> None:
        """Set the times of the checkout's files to now. Call before any process of the attempt starts."""
        self._warm.date_as_new(
            self._home.places(identity), _split_workspace(workspace)[0], workspace.object_format
        )


def _split_workspace(workspace: Workspace) -> tuple[str, str]:
    if workspace.repo is None or workspace.snapshot is None:
        raise WorkspaceFailure("the job's git workspace must name a repository and a snapshot")
    return workspace.repo, workspace.snapshot
