"""Paths of an attempt's files on a node, and functions to safely read and remove what an agent put there."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from node_agent.attempt.gate_reports import MOST_REPORT as MOST_REPORT
from node_agent.attempt.left_for_others import MOST_QUESTION
from node_agent.attempt.left_for_others import QUESTION as QUESTION
from node_agent.attempt.ports import Guide, StepFailed
from node_agent.files.walk import walk_tree
from node_agent.wire.failure import FailureKind
from node_agent.wire.git import checked_repo, decode_path
from node_agent.wire.identity import AttemptId
from node_agent.wire.skill import MOST_TOOL, MOST_TOOL_FILES, TOOLS
from node_agent.workspace.git import WorkspaceFailure


@dataclass(frozen=True, slots=True)
class AttemptFolders:
    """The folders of one attempt: the agent works in `tree`; `git` and `out` are outside it."""

    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def git(self) -> Path:
        """The repository that the agent's git commands use; the agent may change anything in it."""
        return self.folder / "git"

    @property
    def out(self) -> Path:
        """The node agent's repository, in which the result is built and from which it is pushed."""
        return self.folder / "out.git"

    @property
    def baseline(self) -> Path:
        """The record of the tree's state after set-up."""
        return self.folder / "baseline.json"

    @property
    def question(self) -> Path:
        """The agent's question to a user, moved out of the tree."""
        return self.folder / "question.json"

    @property
    def home(self) -> Path:
        """The agent's HOME."""
        return self.folder / "home"

    @property
    def store(self) -> Path:
        """A file that names the object folder from which `git` borrows."""
        return self.folder / "store"

    @property
    def index(self) -> Path:
        """The index that git wrote with the checkout, which later shows which files are unchanged."""
        return self.folder / "index"

    @property
    def ready(self) -> Path:
        return self.folder / "ready"


_ASIDE = ".agent"


class WorkspaceFolders:
    """The folders for workspaces in the node agent's home."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def places(self, identity: AttemptId) -> AttemptFolders:
        """Return the attempt's folders; if it continues a session, those of the earlier attempt."""
        return AttemptFolders(self.root / "work" / self._read_claims().get(str(identity), str(identity)))

    def aside(self, identity: AttemptId) -> AttemptFolders:
        """Return where the attempt's folders lie while its gates run in others at their path."""
        return AttemptFolders(self._aside / f"{self.places(identity).folder.name}{_ASIDE}")

    @property
    def _aside(self) -> Path:
        return self.root / "work" / ".aside"

    def take_place(self, identity: AttemptId, name: str) -> bool:
        """Let the attempt use an earlier one's folder `name`. False while that still exists. Idempotent."""
        mine, place = str(identity), self.root / "work" / name
        with lock_file(self._given / ".lock"):
            claims = self._read_claims()
            others = [one for one, of in claims.items() if of == name and one != mine]
            if os.path.lexists(place) or os.path.lexists(self._aside / f"{name}{_ASIDE}"):
                return claims.get(mine) == name and not others
            for one in others:  # the attempts whose files have been removed
                (self._given / one).unlink()
            if claims.get(mine) != name:
                os.symlink(name, self._given / mine)
            place.mkdir(mode=0o700)
            return True

    def leave_place(self, identity: AttemptId) -> None:
        """Remove the link to the attempt's folder, whose files have been removed. Idempotent."""
        (self._given / str(identity)).unlink(missing_ok=True)

    @property
    def _given(self) -> Path:
        """The folder of links, each from an attempt to the earlier attempt whose folder it uses."""
        return self.root / "work" / ".given"

    def taken_places(self) -> frozenset[str]:
        """Return the names of the earlier attempts whose folders attempts use now."""
        return frozenset(self._read_claims().values())

    def _read_claims(self) -> dict[str, str]:
        try:
            names = [name for name in os.listdir(self._given) if not name.startswith(".")]
        except FileNotFoundError:
            return {}
        return {name: os.readlink(self._given / name) for name in names}

    def mirror(self, repo_id: str) -> Path:
        return self.root / "mirrors" / checked_repo(repo_id)

    @property
    def cache(self) -> Path:
        """The folder with stored results of set-ups, for later attempts."""
        return self.root / "cache"

    @property
    def warm(self) -> Path:
        """The folder with stored checkouts for later attempts, on the same file system as the attempts."""
        return self.root / "work" / ".warm"

    def result_folder(self, identity: AttemptId) -> Path:
        """Return the folder with the commit of an attempt whose other files were removed."""
        return self.root / "kept" / str(identity)

    def salvage(self, identity: AttemptId) -> Path:
        return self.root / "salvage" / str(identity)

    def attempts(self) -> tuple[AttemptId, ...]:
        """Return every attempt that has a folder, ordered by name."""
        found, has = [], {place: name for name, place in self._read_claims().items()}
        names = set[str]()
        for folder in (self.root / "work", self._aside):
            with suppress(FileNotFoundError):
                names.update(name.removesuffix(_ASIDE) for name in os.listdir(folder))
        for name in sorted(names):
            with suppress(ValueError):
                found.append(AttemptId.parse(has.get(name, name)))
        return tuple(found)


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`, which is created if it is missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def real_folder(path: Path) -> bool:
    """Whether `path` itself is a folder, and not a symbolic link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def must_be_folder(path: Path) -> None:
    if not real_folder(path):
        raise WorkspaceFailure(f"{path} no longer exists, or is not a folder")


def must_hold(tree: Path, below: str) -> None:
    """Raise StepFailed if the tree lacks folder `below`, or its path has a link, which may lead outside."""
    path = tree
    for part in below.split("/") if below else ():
        path /= part
        if not real_folder(path):
            raise StepFailed(
                FailureKind.CANNOT_START,
                f"the run cannot begin in {below!r}: folder not found, or the path contains a symbolic link",
            )


def erase(path: Path) -> None:
    """Remove a folder, link or file and its content, whatever its modes; follow no links. Idempotent."""
    if not os.path.lexists(path):
        return
    if not real_folder(path):
        path.unlink()
        return
    for one in walk_tree(path, opening=True):
        with suppress(OSError):  # remove the others anyway; a failure is raised at the end
            if one.is_folder:
                os.rmdir(one.name, dir_fd=one.at)
            else:
                os.unlink(one.name, dir_fd=one.at)
    with suppress(OSError):
        os.rmdir(path)
    if os.path.lexists(path):
        raise WorkspaceFailure(f"cannot remove {path}")


def write_below(folder: Path, name: str, data: bytes) -> None:
    """Write an owner-only file at the relative `name` below `folder`. Raises ValueError if it leads outside.
    A name ending with a slash creates a folder. A file that begins with `#!` is made executable."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise ValueError(f"{name!r} is not a relative name below a folder")
    target = folder.joinpath(*parts)
    if name.endswith("/"):
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    mode = 0o700 if data.startswith(b"#!") else 0o600
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(fresh, target)


def change_owner(path: Path, owner: int) -> None:
    """Make `owner` the owner of a folder and its content; follow no links. The folder may be missing."""
    if not real_folder(path):
        return
    os.chown(path, owner, owner, follow_symlinks=False)
    for one in walk_tree(path):
        os.chown(one.name, owner, owner, dir_fd=one.at, follow_symlinks=False)


def open_to_readers(path: Path) -> None:
    """Make this folder readable for all users who can reach it; the folders above it are not changed."""
    _add_mode(str(path), 0o055)
    for one in walk_tree(path):
        _add_mode(one.name, 0o055 if one.is_folder else 0o044, one.at)


def make_readable(tree: Path) -> None:
    """Make files readable that an agent made unreadable; no file's executable bit changes."""
    for one in walk_tree(tree, opening=True):
        if not one.is_folder:
            _add_mode(one.name, 0o400, one.at)


def _add_mode(path: str, bits: int, at: int | None = None) -> None:
    with suppress(OSError):
        seen = os.stat(path, dir_fd=at, follow_symlinks=False)
        if not stat.S_ISLNK(seen.st_mode) and seen.st_mode & bits != bits:
            os.chmod(path, stat.S_IMODE(seen.st_mode) | bits, dir_fd=at)


GUIDE = "AGENTS.md"
MOST_GUIDE = 32 << 10
MOST_LISTED = 300
"""The most tools, and the most files of a tool, that are read."""


def read_guide(tree: Path) -> Guide | None:
    """Return AGENTS.md, or None if it is missing, without following links or blocking on a pipe."""
    path = tree / GUIDE
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return _make_unread_guide()
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return _make_unread_guide()
    with os.fdopen(handle, "rb") as file:
        data = file.read(MOST_GUIDE + 1)
    if len(data) <= MOST_GUIDE:
        return Guide(data.decode("utf-8", "replace"))
    finding = f"{GUIDE} is larger than {MOST_GUIDE >> 10} KB: the agent got only the beginning"
    return Guide(data[:MOST_GUIDE].decode("utf-8", "ignore"), (finding,))


def take_question(places: AttemptFolders, folder: str, is_tracked: Callable[[str], bool]) -> bytes | None:
    """Move the agent's question out of the tree, from its start folder or the top, and return its content.
    None if there is no question. A tracked file does not count as a question."""
    names = dict.fromkeys((f"{folder}/{QUESTION}" if folder else QUESTION, QUESTION))
    for name in () if places.question.is_file() else names:
        if _is_plain(places.tree, name) and not is_tracked(name):
            os.rename(places.tree / name, places.question)
            with suppress(OSError):
                os.rmdir((places.tree / name).parent)
            break
    if not places.question.is_file():
        return None
    with open(places.question, "rb") as file:
        return file.read(MOST_QUESTION + 1)


COPIED = "copied.json"
"""The file in the attempt's folder with the names of the copied files."""


def lay_copied(places: AttemptFolders, files: Mapping[str, bytes]) -> None:
    """Write copies of ignored files into the checkout. OSError if a link or a file is in their path."""
    write_below(places.folder, COPIED, json.dumps(sorted(files)).encode())
    read_copied_names.cache_clear()  # a later attempt of the session may use the folder again
    for name, data in files.items():
        path = places.tree
        for part in Path(name).parts[:-1]:
            path = path / part
            if os.path.lexists(path) and not real_folder(path):
                raise NotADirectoryError(f"{path} is not a directory")
            path.mkdir(mode=0o700, exist_ok=True)
        write_below(places.tree, name, data)


def take_tools(
    places: AttemptFolders, is_tracked: Callable[[str], bool]
) -> dict[str, dict[str, bytes] | str]:
    """Move the tools that a run proposes out of the tree. Return, by name, a tool's files or the reason why
    it is unusable. The repository's own tools stay. No link is followed."""
    kept, folder = places.folder / "tools", places.tree / TOOLS
    if not kept.is_dir():
        if not real_folder(folder.parent) or not real_folder(folder) or is_tracked(TOOLS):
            return {}
        for one in (folder.parent, folder):
            with suppress(OSError):  # the agent may have made the files inaccessible
                os.chmod(one, 0o700)
        os.rename(folder, kept)
        with suppress(OSError):
            os.rmdir(folder.parent)
    names = sorted(os.listdir(kept))[:MOST_LISTED]
    return {name: _tool_in(kept / name) for name in names}


def _tool_in(folder: Path) -> dict[str, bytes] | str:
    if not real_folder(folder):
        return "it is not a directory"
    files, room = dict[str, bytes](), MOST_TOOL * 4
    for one in walk_tree(folder, opening=True, most=MOST_LISTED):
        if one.is_folder:
            continue
        path = "/".join((*one.way, one.name))
        if not stat.S_ISREG(os.stat(one.name, dir_fd=one.at, follow_symlinks=False).st_mode):
            return f"{decode_path(os.fsencode(path))} is not a regular file"
        handle = os.open(one.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=one.at)
        with os.fdopen(handle, "rb") as file:
            files[path] = file.read(room + 1)
        room -= len(files[path])
        if room < 0 or len(files) > MOST_TOOL_FILES:
            return f"it has more than {MOST_TOOL * 4 >> 10} KB or more than {MOST_TOOL_FILES} files"
    return files


def holds_copied(places: AttemptFolders, name: bytes) -> bool:
    """Whether this is a copied ignored file, or a folder (with a final slash) that contains one."""
    shown = decode_path(name)
    copied = read_copied_names(places.folder)
    return shown in copied or (shown.endswith("/") and any(one.startswith(shown) for one in copied))


def is_left_out(places: AttemptFolders, name: bytes) -> bool:
    """Whether this file, of proposed tools or of the copied ignored files, stays out of each result."""
    is_tool = name.startswith(os.fsencode(f"{TOOLS}/")) and (places.folder / "tools").is_dir()
    return is_tool or decode_path(name) in read_copied_names(places.folder)


@lru_cache(maxsize=64)
def read_copied_names(folder: Path) -> frozenset[str]:
    """Return the names in the attempt's folder, which do not change once a process has started."""
    try:
        return frozenset(json.loads((folder / COPIED).read_bytes()))
    except FileNotFoundError:
        return frozenset()


def clear_reports(tree: Path, names: Iterable[str]) -> None:
    """Remove the files and links with these names. A file behind a link stays, and is not read later."""
    for name in names:
        path = tree / name
        if all(real_folder(tree.joinpath(*Path(name).parts[:n])) for n in range(len(Path(name).parts))):
            with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                _remove_any(path)


def _remove_any(path: Path) -> None:
    try:
        os.unlink(path)
    # the agent may have made the parent folder inaccessible; some systems raise this error for a folder, too
    except PermissionError:
        if real_folder(path):
            return
        os.chmod(path.parent, 0o700)
        os.unlink(path)


def read_reports(tree: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of the regular files among these names, each up to one byte over the limit."""
    found: dict[str, bytes] = {}
    for name in names:
        if _is_plain(tree, name):
            with suppress(OSError), open(tree / name, "rb") as file:
                found[name] = file.read(MOST_REPORT + 1)
    return found


def _is_plain(tree: Path, name: str) -> bool:
    """Whether this is a regular file whose path contains no link."""
    path, parts = tree, Path(name).parts
    for part in parts[:-1]:
        path = path / part
        if not real_folder(path):
            return False
    path = path / parts[-1]
    return os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode)


def _make_unread_guide() -> Guide:
    return Guide("", (f"{GUIDE} is not a regular file: it was not read",))
