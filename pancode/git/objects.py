"""Imports objects of the user's repository, and files of its tree, into the depot."""

from __future__ import annotations

import hashlib
import os
import posixpath
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.wire.git import checked_object, join_nul, split_nul
from pancode.git.depot import GC, Depot
from pancode.git.file_list import Listing
from pancode.git.repository import GitProject
from pancode.git.runner import Git, GitFailure, GitRefusal
from pancode.kernel.ports import Progress, ignore_progress

BATCH = 10_000
"""How many files one git process takes: while it writes a pack, git searches it slowly for each new
object."""
MANY = 1_000
"""From this number of files on, objects are written as one pack: then only two files must be synced."""
# Git streams files above the threshold (0: all) straight into one pack. A loose object costs a creation, a
# sync and a rename per file, which takes ten times as long. Files that git converts (line ends) stay loose
# regardless.
_PACKED = ("-c", "core.bigFileThreshold=0")
# zlib takes 256 KB for each object, and glibc returns that memory to the kernel at once, which takes most of
# the remaining time.
_KEPT = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_TOP_PAD_": str(16 << 20)}


def hash_files(git: Git, listing: Listing, progress: Progress = ignore_progress) -> None:
    """Update the index of `git` to the listing; write the objects. GitRefusal if a file is unreadable. Not
    `git add -A`: it fails on a nested repository without commits, and runs submodules' programs."""
    packed = _PACKED if len(listing.names) >= MANY else ()
    git = git.having(**_KEPT) if packed else git
    try:
        if listing.gone:
            git.must("update-index", "-z", "--force-remove", "--stdin", stdin=join_nul(listing.gone))
        for at in range(0, len(listing.names), BATCH):
            progress(at, len(listing.names))
            options = ("-z", "--add", "--remove", "--replace", "--stdin")
            git.must(*packed, "update-index", *options, stdin=join_nul(listing.names[at : at + BATCH]))
        progress(len(listing.names), len(listing.names))
    except GitFailure as exc:
        raise GitRefusal(
            "cannot read a file of the working tree",
            why=exc.err,
            fix="correct the file's permissions or encoding, or add the file to .gitignore, then dispatch "
            "again",
        ) from exc


def write_commit(
    repository: Path, tree: str, parents: Iterable[str], signed: Mapping[str, str], words: bytes
) -> str:
    """Write a commit to a bare repository like `git commit-tree`, not running git; return its id, equal for
    equal input. `signed`: variables from `stamp_env`."""
    lines = [f"tree {tree}", *(f"parent {one}" for one in parents)]
    for role in ("AUTHOR", "COMMITTER"):
        name, email, date = (signed[f"GIT_{role}_{part}"] for part in ("NAME", "EMAIL", "DATE"))
        lines.append(f"{role.lower()} {name} <{email}> {date.removeprefix('@')}")
    body = "\n".join([*lines, "", ""]).encode() + words
    return write_object(repository / "objects", b"commit", body, len(tree))


def copy_objects(source: Git, oids: list[str], target: Path) -> None:
    """Copy these objects of a repository, in this order, into the object folder `target`, as loose files."""
    with tempfile.TemporaryDirectory(prefix="pancode-copy-", dir=source.cwd) as folder:
        place = Path(folder) / "objects"
        source.must("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in oids).encode(), stdout=place)
        with place.open("rb") as file:
            for oid in oids:
                _, kind, size = file.readline().split()
                write_object(target, kind, file.read(int(size)), len(oid))
                file.read(1)


def write_object(objects: Path, kind: bytes, body: bytes, digits: int) -> str:
    """Write a loose object completely and durably; if it exists, only renew its modification time."""
    data = kind + b" %d\0" % len(body) + body
    name = hashlib.new("sha1" if digits == 40 else "sha256", data, usedforsecurity=False).hexdigest()
    target = objects / name[:2] / name[2:]
    try:
        os.utime(target)
    except FileNotFoundError:
        with suppress(FileExistsError):
            target.parent.mkdir()
            target.parent.chmod(objects.stat().st_mode & 0o7777)  # a repository may be shared with a group
        handle, fresh = tempfile.mkstemp(prefix="tmp_obj_", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(zlib.compress(data))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, 0o444)
        os.rename(fresh, target)
    return name


def make_reader(project: GitProject, depot_path: Path) -> Git:
    """Return git that reads the user's objects and writes into the depot. pack-objects makes its temporary
    pack in GIT_OBJECT_DIRECTORY, so even for reading that must be the depot's folder."""
    return project.git.having(
        GIT_OBJECT_DIRECTORY=str(depot_path / "objects"),
        GIT_ALTERNATE_OBJECT_DIRECTORIES=_quote_path(project.objects),
    )


def make_writer(project: GitProject, depot_path: Path, index: Path) -> Git:
    """Return git that hashes the user's files into the depot through PanCode's own index. It has no
    alternates: git would refresh the mtime of objects that it finds there, in the user's repository."""
    return project.git.having(GIT_INDEX_FILE=str(index), GIT_OBJECT_DIRECTORY=str(depot_path / "objects"))


def _quote_path(path: Path) -> str:
    """Quote a path for an alternates list: colons separate paths, and a leading quote starts C quoting."""
    text = str(path)
    if ":" not in text and not text.startswith('"'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def import_tip(project: GitProject, depot: Depot, tip: str | None) -> None:
    """Import the user's commit `tip`, like `import_base`; does nothing if the depot has its whole history."""
    command = ("rev-list", "--objects", "--quiet", str(tip), "--not", "--glob=refs/pancode/base")
    if tip and not depot.git(project.repo_id).ask(*command).ok:
        import_base(replace(project, head=tip), depot)


def import_base(project: GitProject, depot: Depot) -> None:
    """Pack the history of the user's HEAD into the depot. Idempotent; does nothing on an unborn branch. Does
    not use `git fetch PATH`, which takes 16-22 s for 200 MB and drops the hardened settings."""
    path, head = depot.path(project.repo_id), project.head
    if head is None or depot.is_newest_base(project.repo_id, head):
        return
    known = depot.known_bases(project.repo_id)
    if head in known:
        return
    have = _find_present(project, known) if _same_cuts(project, path) else []
    revs = "\n".join([head, *(f"^{oid}" for oid in have)]) + "\n"
    # Import the shallow boundaries before the commits whose parents are missing.
    _import_shallow(project, depot)
    try:
        _pack(make_reader(project, path), path, revs, "--revs", "--delta-base-offset")
    except GitFailure as exc:
        raise _make_read_error(project, exc) from exc


def _same_cuts(project: GitProject, path: Path) -> bool:
    """Whether the depot's history is shallow only where the user's is; if not, the depot lacks ancestors."""
    return _read_cuts(path / "shallow") <= _read_cuts(project.shallow_file)


def _read_cuts(file: Path) -> set[str]:
    return set(file.read_text().split()) if file.exists() else set()


def _find_present(project: GitProject, oids: tuple[str, ...]) -> list[str]:
    """Return those of the given commits that the user's repository has; checks only the last 200."""
    stdin = "".join(f"{oid}\n" for oid in oids[-200:]).encode()
    answers = project.git.must("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=stdin).text()
    pairs = (line.split(" ") for line in answers.splitlines())
    return [pair[0] for pair in pairs if pair[-1] == "commit"]


def _pack(git: Git, path: Path, stdin: str, *options: str) -> None:
    settings = ("-c", "core.bigFileThreshold=1m", "-c", "pack.window=0")
    target = str(path / "objects" / "pack" / "pack")
    git.must(*settings, "pack-objects", "-q", *options, target, stdin=stdin.encode())


def write_tree(project: GitProject, depot: Depot, git: Git) -> str:
    """Write the tree of the index of `git` into the depot; return its id. Imports staged blobs that are
    neither committed nor in a file: without them git writes no tree."""
    done = git.ask("write-tree")
    if done.ok:
        return done.text()
    # a concurrent repack may have hidden an object from git
    with depot.locked(project.repo_id, GC):
        rows = split_nul(git.must("ls-files", "-z", "-s").out)
        oids = [oid + b"\n" for mode, oid, *_ in (row.split(b" ", 2) for row in rows) if mode != b"160000"]
        answers = git.must("cat-file", "--batch-check", stdin=b"".join(dict.fromkeys(oids))).text()
        missing = [line.split()[0] + "\n" for line in answers.splitlines() if line.endswith(" missing")]
        path = depot.path(project.repo_id)
        try:
            if missing:
                _pack(make_reader(project, path), path, "".join(missing))
        except GitFailure as exc:
            raise _make_read_error(project, exc) from exc
        return git.text("write-tree")


def _make_read_error(project: GitProject, exc: GitFailure) -> GitRefusal:
    if project.partial:
        return GitRefusal(
            "objects for the snapshot are missing: this is a partial clone",
            why=exc.err.splitlines()[0] if exc.err else "",
            fix="fetch them: git fetch --refetch --no-filter, then dispatch again",
        )
    return GitRefusal(
        "cannot read the repository's objects", why=exc.err, fix="check the repository: git fsck"
    )


def _import_shallow(project: GitProject, depot: Depot) -> None:
    """Add the user's shallow boundaries to the depot's `shallow` file."""
    if not project.shallow:
        return
    target = depot.path(project.repo_id) / "shallow"
    with depot.locked(project.repo_id):
        ours = _read_cuts(target)
        union = ours | _read_cuts(project.shallow_file)
        if union == ours:
            return
        handle, name = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(handle, "w") as file:
            file.write("".join(f"{line}\n" for line in sorted(union)))
        os.rename(name, target)


MOST_READ = 1 << 20
"""The most bytes that are read of a file."""
MOST_PATH = 4096


@dataclass(frozen=True, slots=True)
class _Entry:
    """A git tree's entry. `size`: in bytes."""

    oid: str
    is_link: bool
    size: int


class TreeFiles:
    """Implements node_agent.policy.deciding.FileTree for one tree. Each folder is listed once."""

    def __init__(self, git: Git, tree: str) -> None:
        self._git, self._tree = git, checked_object(tree)
        self._listed: dict[str, dict[str, _Entry | None]] = {}

    def read(self, path: str) -> bytes | None:
        """Return a file's content, a link's target, or the object id of a file over MOST_READ; else None."""
        entry = self._find_entry(path)
        if entry is None:
            return None
        if entry.size > MOST_READ:
            return entry.oid.encode()
        return self._git.must("cat-file", "blob", entry.oid).out

    def target_of(self, path: str) -> bytes | None:
        entry = self._find_entry(path)
        return self.read(path) if entry is not None and entry.is_link else None

    def names(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            is_path = "\0" not in folder and len(folder) <= MOST_PATH
            place = f"{self._tree}:{folder}" if folder else self._tree
            listed = self._git.ask("ls-tree", "-l", "-z", place) if is_path else None
            self._listed[folder] = {}
            for row in split_nul(listed.out) if listed is not None and listed.ok else ():
                head, _, name = row.partition(b"\t")
                mode, _, oid, size = head.decode("ascii").split()
                entry = _Entry(oid, mode == "120000", int(size)) if size.isdecimal() else None
                self._listed[folder][os.fsdecode(name)] = entry
        return frozenset(self._listed[folder])

    def _find_entry(self, path: str) -> _Entry | None:
        """Return the entry of a file or link; None for a folder, a submodule or a missing path."""
        folder, name = posixpath.split(path)
        return self._listed[folder][name] if name in self.names(folder) else None
