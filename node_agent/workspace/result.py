"""Builds the result commit from the files in the tree, and compares it with the snapshot. Ignores every
setting of the agent, and leaves out the files that come from set-up."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from node_agent.attempt.claims import such_as
from node_agent.attempt.ports import AttemptResult, CommitStamp
from node_agent.files.walk import WalkedName, walk_tree
from node_agent.policy.judging import FileChange, Touch
from node_agent.vault.redact import found_in, secret_values
from node_agent.wire.git import (
    Change,
    decode_path,
    join_nul,
    list_parents,
    parse_raw_diff,
    split_nul,
    stamp_env,
)
from node_agent.workspace.folders import (
    AttemptFolders,
    erase,
    holds_copied,
    is_left_out,
    make_readable,
    real_folder,
)
from node_agent.workspace.git import NodeGit, WorkspaceFailure

NO_WORKSPACE = "none"
"""The name of the baseline for an attempt without a workspace."""
_ABSENT_ = "000000"

Entry = tuple[str, str]
"""The mode and object id of a file."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The state of the checkout after set-up: for each changed path, its entry in the snapshot and now (None:
    absent). `head`: the HEAD commit of the agent's repository; `nested`: the repositories inside the tree."""

    head: str | None = None
    changes: Mapping[bytes, tuple[Entry | None, Entry | None]] = field(default_factory=dict)
    nested: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class WithoutSetUp:
    """The entries that the result takes from the snapshot, and the paths where agent files prevent that."""

    entries: Mapping[bytes, Entry | None]
    blocked: tuple[bytes, ...]


def changes_of(raw: list[Change]) -> dict[bytes, tuple[Entry | None, Entry | None]]:
    """Return the changes in a raw diff from the snapshot to the files after set-up, by path."""
    return {one.path: (_make_entry(one.old_mode, one.old), _make_entry(one.new_mode, one.new)) for one in raw}


def _make_entry(mode: str, oid: str) -> Entry | None:
    return None if mode == _ABSENT_ else (mode, oid)


def as_set_up(baseline: Baseline, files: Mapping[bytes, Entry]) -> frozenset[bytes]:
    """Return the paths that only set-up has changed. `files`: every file that exists now."""
    return frozenset(path for path, (_, left) in baseline.changes.items() if files.get(path) == left)


def without_set_up(baseline: Baseline, files: Mapping[bytes, Entry]) -> WithoutSetUp:
    """Return how to undo set-up's changes in the result, where the agent's changes allow that."""
    untouched = as_set_up(baseline, files)
    staying = files.keys() - untouched
    folders = {folder for path in staying for folder in list_parents(path)}
    entries: dict[bytes, Entry | None] = {}
    blocked = []
    for path in sorted(untouched):
        was = baseline.changes[path][0]
        if was is not None and (path in folders or not staying.isdisjoint(list_parents(path))):
            blocked.append(path)
        else:
            entries[path] = was
    return WithoutSetUp(entries, tuple(blocked))


def keep_baseline(baseline: Baseline, path: Path) -> str:
    """Write the baseline to a file. Return its name, which is the digest of the written bytes."""
    data = json.dumps(
        {
            "head": baseline.head,
            "changes": [[os.fsdecode(name), *pair] for name, pair in sorted(baseline.changes.items())],
            "nested": sorted(map(os.fsdecode, baseline.nested)),
        },
        separators=(",", ":"),
    ).encode("ascii")
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    return hashlib.sha256(data).hexdigest()


def read_baseline(path: Path, name: str) -> Baseline:
    """Read the baseline. Raises WorkspaceFailure if the bytes differ: an agent with this uid may write it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != name:
        raise WorkspaceFailure("the record of set-up's files was modified")
    raw: dict[str, Any] = json.loads(data)
    return Baseline(
        head=raw["head"],
        changes={
            os.fsencode(path): (_entry_pair(was), _entry_pair(left)) for path, was, left in raw["changes"]
        },
        nested=frozenset(map(os.fsencode, raw["nested"])),
    )


def _entry_pair(raw: list[str] | None) -> Entry | None:
    return None if raw is None else (raw[0], raw[1])


_READ = frozenset({".gitignore", ".gitattributes", ".gitmodules"})
_OF_A_REPOSITORY = ("HEAD", "commondir")
"""The names by which git recognizes a repository inside the tree."""
_POINTER, _MOST = b"gitdir:", 4096


@dataclass(frozen=True, slots=True)
class TreeOddities:
    """`removed`: messages on removed pipes that would block git; `strays`: `.git` files, which git skips."""

    removed: tuple[str, ...]
    strays: tuple[str, ...]


def without_pipes(tree: Path) -> TreeOddities:
    """Remove pipes that git would read. Make closed folders accessible, since git must read them, too."""
    removed, strays = list[str](), list[str]()
    for one in walk_tree(tree, opening=True):
        if one.name in _READ and _may_block(one.name, one.at):
            removed += _remove_entry(one, one.name)
        # the `.git` file at the top is PanCode's, and PanCode's own git ignores it
        elif one.name == ".git" and one.way:
            removed += _clean_repository(one)
            if not one.is_folder and _leads_to(one) == one.name and not _is_folder_link(one):
                strays.append(decode_path(os.fsencode("/".join((*one.way, one.name)))))
    return TreeOddities(tuple(removed), tuple(strays))


def has_pipe(repository: Path) -> bool:
    """Whether git may block on a pipe or device in this repository, which should have only regular files."""
    return any(not one.is_folder and _may_block(one.name, one.at) for one in walk_tree(repository))


def _clean_repository(one: WalkedName) -> list[str]:
    """Remove what would block git in a repository here; for a repository elsewhere, the link to it."""
    there = ".git" if one.is_folder else _leads_to(one)
    waiting = [name for name in _OF_A_REPOSITORY if _may_block(os.path.join(there, name), one.at)]
    if one.is_folder:
        return [text for name in waiting for text in _remove_entry(one, f".git/{name}")]
    return _remove_entry(one, ".git") if waiting else []


def _is_folder_link(one: WalkedName) -> bool:
    try:
        return stat.S_ISDIR(os.stat(one.name, dir_fd=one.at).st_mode)
    except OSError:
        return False


def _leads_to(one: WalkedName) -> str:
    """Return the repository to which a `.git` file points; for other files their own path."""
    try:
        handle = os.open(one.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=one.at)
    except OSError:  # this is a symbolic link, which the caller follows as git does
        return one.name
    with os.fdopen(handle, "rb") as file:
        content = file.read(_MOST) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    return os.fsdecode(content[len(_POINTER) :].strip()) if content.startswith(_POINTER) else one.name


def _may_block(path: str, at: int) -> bool:
    """Whether opening the path may block or never end, as for a pipe, a device, or a link to one."""
    try:
        mode = os.stat(path, dir_fd=at).st_mode
    except (OSError, ValueError):  # git cannot open the path either
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _remove_entry(one: WalkedName, path: str) -> list[str]:
    with suppress(OSError):  # git's time limit ends the command in that case
        os.unlink(path, dir_fd=one.at)
    name = "/".join((*one.way, path))[:200]
    return [f"{name}: removed, as it was a pipe or device where git expects a file"]


@dataclass(frozen=True, slots=True)
class History:
    """The agent's history. `tip`: the commit on which to build, or the snapshot if the agent made no commit.
    `based`: whether the snapshot is an ancestor of `tip`."""

    tip: str
    based: bool
    warning: str | None = None


def adopt_history(
    places: AttemptFolders, out: NodeGit, snapshot: str, began_at: str | None = None
) -> History:
    """Copy the agent's history into `out`, with all objects checked. Never fails: after an error only the
    files are used. `began_at`: HEAD after set-up; if it is unchanged, the agent has made no commit."""
    head, warning = head_of(places.git)
    if head is None or head in (snapshot, began_at):
        return History(snapshot, True, warning)
    try:
        # copies objects as a pack file, so that git later follows no link that the agent made
        pack = places.out / "agent.pack"
        try:
            revs = f"{head}\n^{snapshot}\n".encode()
            options = ("-c", "core.bigFileThreshold=1m", "pack-objects", "--revs", "--stdout", "-q")
            NodeGit(places.git).must(*options, stdin=revs, stdout=pack)
            out.must("index-pack", "--stdin", "--strict", "--fix-thin", stdin=pack)
            out.must("rev-list", "--objects", "--quiet", head, f"^{snapshot}")
        finally:
            erase(pack)
    except WorkspaceFailure as failure:
        return History(
            snapshot, True, f"the agent's commits could not be copied, only its files: {failure}"[:500]
        )
    based = out.ask("merge-base", "--is-ancestor", snapshot, head).ok
    return History(
        head,
        based,
        None if based else "the agent rewrote the history: its commits were added as a second parent",
    )


def head_of(git_dir: Path) -> tuple[str | None, str | None]:
    if not real_folder(git_dir):
        return None, "the agent deleted its repository: the result is built from its files"
    if not has_pipe(git_dir):
        head = NodeGit(git_dir).ask("rev-parse", "-q", "--verify", "HEAD^{commit}").text()
        if head:
            return head, None
    return None, "the agent's repository cannot be read: the result is built from its files"


_ABSENT, _LINK, _MODULE = "000000", "120000", "160000"
_RAW_DIFF = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-commit-id")
MOST_TARGET = 4096
"""The most bytes of a link's target; the kernel accepts no longer target."""


def all_changes(git: NodeGit, tree: Path, ends: tuple[str, str], tip: str) -> tuple[FileChange, ...]:
    """Return the changes between both ends, and, marked `passing`, changes by the agent's commits that the
    second end no longer shows. `tip`: the agent's newest commit, or the snapshot if it made none."""
    snapshot, commit = ends
    last = _file_changes(git, tree, _list_changes(git, snapshot, commit))
    if tip == snapshot:
        return tuple(last)
    known = {(change.path, change.how) for change in last}
    on_the_way = (
        replace(one, passing=True) for one in _file_changes(git, tree, _on_the_way(git, snapshot, tip))
    )
    return (*last, *(one for one in dict.fromkeys(on_the_way) if (one.path, one.how) not in known))


def _list_changes(git: NodeGit, old: str, new: str) -> list[Change]:
    return list(parse_raw_diff(git.must(*_RAW_DIFF, old, new).out))


def _on_the_way(git: NodeGit, snapshot: str, tip: str) -> list[Change]:
    """Return each commit's changes against each of its parents; for a root commit, against the snapshot."""
    new = (tip, f"^{snapshot}")
    commits = git.must("rev-list", *new).out
    found = list(parse_raw_diff(git.must(*_RAW_DIFF, "-m", "--stdin", stdin=commits).out))
    for root in git.text("rev-list", "--max-parents=0", *new).split():
        found += _list_changes(git, snapshot, root)
    return found


def _file_changes(git: NodeGit, tree: Path, changes: Iterable[Change]) -> list[FileChange]:
    every = list(changes)
    targets = _read_targets(git, {one.new for one in every if one.new_mode == _LINK})
    return [
        FileChange(
            path := decode_path(one.path), _find_touch(one), _place(tree, path, targets.get(one.new, b""))
        )
        if one.new_mode == _LINK
        else FileChange(decode_path(one.path), _find_touch(one))
        for one in every
    ]


def _find_touch(one: Change) -> Touch:
    if one.old_mode == _ABSENT:
        return Touch.ADDED
    if one.new_mode == _ABSENT:
        return Touch.DELETED
    if _file_kind(one.old_mode) != _file_kind(one.new_mode):
        return Touch.REPLACED
    return Touch.MODE if one.old == one.new else Touch.CHANGED


def _file_kind(mode: str) -> str:
    return mode if mode in (_LINK, _MODULE) else "file"


def _read_targets(git: NodeGit, oids: set[str]) -> dict[str, bytes]:
    """Return link targets by object id, without those too long to be valid, which an agent can make."""
    stdin = "".join(f"{oid}\n" for oid in sorted(oids)).encode()
    if not stdin:
        return {}
    sizes = (line.split() for line in git.must("cat-file", "--batch-check", stdin=stdin).out.splitlines())
    small = b"".join(words[0] + b"\n" for words in sizes if 0 < int(words[2]) <= MOST_TARGET)
    place = git.git_dir / "targets.batch"
    git.must("cat-file", "--batch", stdin=small, stdout=place)
    return dict(_read_batch(place))


def _place(tree: Path, path: str, target: bytes) -> str:
    """Return the link's target, normalized by name only: relative to the tree's top, or absolute."""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), decode_path(target)))
    if not place.startswith("/"):
        return place
    inside = os.path.relpath(place, tree)
    return place if inside.startswith("..") else inside


MOST_BYTES = 256 << 20
"""The most bytes of all changed files together for which secrets are searched."""
MOST_FOUND = 20


def find_exposed(
    out: NodeGit,
    folder: Path,
    commits: tuple[str, str],
    hidden: Mapping[str, str],
    on_the_way: bool = False,
    copied: frozenset[str] = frozenset(),
) -> list[tuple[str, str]]:
    """Return (name of the secret, file) for each value in a changed file that the file did not have before,
    and for each of the `copied` files.

    A link's target counts as its content, and a new file's name as part of the file. `commits`: the snapshot
    and the result. `on_the_way`: include the changes, author and message of each commit between them, which a
    landing may keep. Raises WorkspaceFailure if there are too many bytes to search.
    """
    if not secret_values(hidden) and not copied:
        return []
    every = list(dict.fromkeys(_on_the_way(out, *commits) if on_the_way else _list_changes(out, *commits)))
    changes = [one for one in every if one.new_mode.startswith("100") or one.new_mode == _LINK]
    found = [(f"file {path}", path) for one in changes if (path := decode_path(one.path)) in copied]
    new = _find_secrets(out, folder, [one.new for one in changes], hidden)
    having = [one for one in changes if new[one.new]]
    old = _find_secrets(out, folder, [one.old for one in having if one.old.strip("0")], hidden)
    found += [
        (name, decode_path(one.path))
        for one in having
        for name in new[one.new]
        if name not in old.get(one.old, ())
    ]
    named = (one.path for one in every if one.old_mode == _ABSENT)
    found += [(name, decode_path(path)) for path in named for name in found_in(path, hidden)]
    if on_the_way:
        made = out.text("rev-list", commits[1], f"^{commits[0]}").split()
        words = _find_secrets(out, folder, made, hidden)
        found += [
            (name, f"the author or message of commit {one[:12]}") for one in made for name in words[one]
        ]
    return list(dict.fromkeys(found))[:MOST_FOUND]


def _find_secrets(
    out: NodeGit, folder: Path, oids: list[str], hidden: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return the names of the secrets in each of these objects. Only one object is in memory at a time."""
    stdin = "".join(f"{oid}\n" for oid in dict.fromkeys(oids)).encode()
    sizes = out.must("cat-file", "--batch-check=%(objectsize)", stdin=stdin).text().split()
    if sum(int(size) for size in sizes) > MOST_BYTES:
        raise WorkspaceFailure(f"the changed files have more than {MOST_BYTES >> 20} MiB")
    place = folder / "exposed.batch"
    try:
        out.must("cat-file", "--batch", stdin=stdin, stdout=place)
        return {oid: found_in(text, hidden) for oid, text in _read_batch(place)}
    finally:
        place.unlink(missing_ok=True)


def _read_batch(place: Path) -> Iterator[tuple[str, bytes]]:
    with place.open("rb") as file:
        while head := file.readline().split():
            yield head[0].decode(), file.read(int(head[2]))
            file.read(1)


_LIKE_GIT = re.compile(rb"(^|/)(\.[^/]*g[^/]*i[^/]*t|git~)", re.IGNORECASE)
"""Matches names that git may refuse; only these names are checked with git."""
MAX_FILE = 100 << 20
"""The most bytes of a new or changed file; a larger file is left out of the result and reported."""
AUTHOR = ("PanCode", "result@pancode.invalid")
"""The author of the commit with the files that an agent left uncommitted."""
PATIENCE_S = 300.0
"""The most seconds for one git command over an agent's tree, in case the agent found a way to delay git."""
MOST_NESTED = 1_000
"""The most repositories inside a tree whose files become part of the result."""
MAX_LISTED = 200
"""The most ignored files that a message lists."""
_SUBMODULES = re.compile(rb"(?<![^\0])(?:[A-Z] )?160000 [^\t\0]*\t([^\0]+)")
"""Finds submodules in the raw list of all files, which is too long to be split in a large repository."""
_LIST_NEW = ("ls-files", "-z", "-t", "-o", "--exclude-standard")
_LIST = (*_LIST_NEW, "-s", "-c", "-m", "-d")
_TOUCHED = re.compile(rb"(?<![^\0])(?:[CR] [^\t\0]*\t|\? )([^\0]+)")
"""Finds files that differ from the index in the same list."""
_UPDATE = ("update-index", "-z", "--add", "--remove", "--replace")
_IGNORE_PROGRAM_ATTRIBUTES = "* !filter !working-tree-encoding !ident -text\n"


@dataclass(frozen=True, slots=True)
class ResultCommit(AttemptResult):
    """The port's Result, and the names that it lacks: ignored files (of an empty result), and repositories
    inside the tree. An `empty` result with one of these or `warnings` must not be shown as "nothing done"."""

    ignored: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Leftovers:
    """The agent's uncommitted files: those that enter the result (`names`), and those that are left out."""

    names: tuple[bytes, ...]
    gone: tuple[bytes, ...]
    nested: tuple[bytes, ...]
    large: tuple[bytes, ...]
    links: tuple[bytes, ...]
    opened: tuple[bytes, ...] = ()
    """Repositories inside the tree whose files are among `names`."""


def build_commit(
    places: AttemptFolders,
    out: NodeGit,
    snapshot: str,
    history: History,
    stamp: CommitStamp,
    before: Baseline | None = None,
) -> ResultCommit:
    """Return the commit with the files: the agent's HEAD if it contains them all, else a new commit on top of
    HEAD. `before`: the state after set-up, which is not the agent's work."""
    index, odd_names = fresh_index(places, history.tip, places.out / "result.index")
    known = before.nested if before is not None else frozenset[bytes]()
    left = _with_nested(places, index, _find_leftovers(places, index), snapshot, known)
    odd = _stage(places, index, left)
    refused = _omitted_by_git(places.tree, index, left, odd_names.strays)
    blocked = take_set_up_back(index, before) if before is not None and before.changes else None
    tree = index.must("write-tree").text()
    commit = history.tip
    changes = all_changes(out, places.tree, (snapshot, tree), history.tip)
    has_changed = not all(change.passing for change in changes)
    is_new = has_changed if commit == snapshot else tree != out.text("rev-parse", f"{commit}^{{tree}}")
    if is_new or not history.based:
        parents = (history.tip,) if history.based else (snapshot, history.tip)
        options = [word for parent in parents for word in ("-p", parent)]
        signed = NodeGit(places.out, variables=stamp_env(*AUTHOR, stamp.date_ms))
        message = stamp.message.replace("\0", "").strip() or "PanCode result"
        lines = message.encode("utf-8", "replace") + b"\n"
        commit = signed.must("commit-tree", tree, *options, stdin=lines).text()
    kind: Literal["change", "no_change", "empty"] = "empty" if commit == snapshot else "no_change"
    kind = "change" if has_changed else kind
    # Ignored files explain only an empty result. The files that the owner gave the run are not reported.
    seen = list[bytes]()
    if kind == "empty":
        seen = split_nul(index.must("ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory").out)
    ignored = [name for name in seen if not holds_copied(places, name)]
    unseen = _only_ignored(ignored)
    more = len(odd_names.removed) - 10
    clipped = (*odd_names.removed[:10], f"and {more} more") if more > 0 else odd_names.removed
    warnings = (history.warning, odd, blocked, *clipped, *_leftover_warnings(left), refused, *unseen)
    return ResultCommit(
        kind=kind,
        commit=None if commit == snapshot else commit,
        files_changed=tuple(change.path for change in changes if not change.passing),
        changes=changes,
        missing=_format_missing(left, known, refused),
        ignored=tuple(map(decode_path, ignored[:MAX_LISTED])),
        nested=tuple(map(decode_path, left.nested)),
        warnings=tuple(text for text in warnings if text),
    )


def survey_changes(places: AttemptFolders, snapshot: str) -> Baseline:
    """Return how the files now differ from the snapshot, including large files. Stores no file contents."""
    index, _ = fresh_index(places, snapshot, places.out / "baseline.index")
    left = _find_leftovers(places, index)
    every = replace(left, names=(*left.names, *left.large), large=())
    _stage(places, index, every, "--info-only")
    raw = index.must("diff-index", "--cached", "-z", "--raw", "--no-renames", "--no-abbrev", snapshot).out
    head, _ = head_of(places.git)
    inside = frozenset((*left.nested, *(link + b"/" for link in left.links)))
    return Baseline(head, changes_of(list(parse_raw_diff(raw))), inside)


def changed_after(index: NodeGit, before: Baseline | None) -> tuple[bytes, ...]:
    """Return the files that differ from the index, except those in the state in which set-up left them."""
    names, _ = list_touched(index)
    if before is None:
        return names
    of_set_up = [name for name in names if name in before.changes]
    # otherwise these files seem changed
    index.ask(*_UPDATE, "--info-only", "--stdin", stdin=join_nul(of_set_up))
    same = (as_set_up(before, _list_entries(index)) if before.changes else frozenset()) | before.nested
    return tuple(name for name in names if name not in same)


def take_set_up_back(index: NodeGit, before: Baseline) -> str | None:
    """Restore files that only set-up has changed. Return a message about those that cannot be restored."""
    back = without_set_up(before, _list_entries(index))
    gone = [path for path, entry in back.entries.items() if entry is None]
    lines = [f"{entry[0]} {entry[1]}\t".encode() + path for path, entry in back.entries.items() if entry]
    index.must("update-index", "-z", "--force-remove", "--stdin", stdin=join_nul(gone))
    index.must("update-index", "-z", "--index-info", stdin=join_nul(lines))
    if not back.blocked:
        return None
    names = ", ".join(map(decode_path, back.blocked[:10]))
    return (
        f"{names}: changed by set-up but left in the result, because the agent's files prevent restoring them"
    )


def _list_entries(index: NodeGit) -> dict[bytes, Entry]:
    """Return every file of the index."""
    lines = (line.split(b"\t", 1) for line in split_nul(index.must("ls-files", "-z", "-s").out))
    pairs = ((path, head.decode("ascii").split()) for head, path in lines)
    return {path: (mode, oid) for path, (mode, oid, _) in pairs}


def fresh_index(places: AttemptFolders, commit: str, index: Path) -> tuple[NodeGit, TreeOddities]:
    """Return git for the agent's tree with a new index of `commit`, which compares every file by content, and
    the findings of `without_pipes` in the tree."""
    found = without_pipes(places.tree)
    for leftover in (index, index.with_name(f"{index.name}.lock")):
        leftover.unlink(missing_ok=True)
    git = NodeGit(places.out, places.tree, {"GIT_INDEX_FILE": str(index)}, PATIENCE_S)
    git.must("read-tree", commit)  # without facts about files, so that git compares each file's content
    return git, found


def list_touched(index: NodeGit, *, opens: bool = True) -> tuple[tuple[bytes, ...], set[bytes]]:
    """Return files that differ from the index: changed, deleted, or new, not ignored (folders end with /);
    and all submodules of the index. `opens`: make closed folders accessible."""
    seen = index.must(*_LIST)
    found = seen.out
    # git would silently skip the new files in closed folders
    if opens and "could not open directory" in seen.err:
        make_readable(index.cwd)
        found += index.must(*_LIST_NEW).out
    return tuple(sorted(set(_TOUCHED.findall(found)))), set(_SUBMODULES.findall(found))


def _find_leftovers(places: AttemptFolders, index: NodeGit) -> _Leftovers:
    tree = places.tree
    touched, links = list_touched(index)
    names = tuple(name for name in touched if not is_left_out(places, name))
    plain = [name for name in names if not name.endswith(b"/") and name not in links]
    taken, large = by_size(tree, plain)
    gone = beyond_links(tree, plain)
    return _Leftovers(
        names=tuple(name for name in taken if name not in gone),
        gone=gone,
        nested=tuple(name for name in names if name.endswith(b"/")),
        large=large,
        links=tuple(sorted(links.intersection(names) | {name for name in links if _is_filled(tree, name)})),
    )


def _with_nested(
    places: AttemptFolders, index: NodeGit, left: _Leftovers, snapshot: str, known: frozenset[bytes]
) -> _Leftovers:
    """Add the files of repositories that the agent made inside the tree, without their history. `known`: the
    repositories that set-up made. A submodule of the snapshot remains a submodule."""
    in_snapshot = index.must("ls-tree", "-r", "-z", snapshot).out if left.links else b""
    submodules = {found[1] for found in _SUBMODULES.finditer(in_snapshot)}
    made = [name for name in left.nested if name not in known]
    made += [link + b"/" for link in left.links if link not in submodules]
    files, opened = list[bytes](), list[bytes]()
    while made and len(opened) < MOST_NESTED:
        folder = made.pop()
        inside = NodeGit(index.git_dir, places.tree / os.fsdecode(folder), patience_s=PATIENCE_S)
        inside.env["GIT_INDEX_FILE"] = str(index.git_dir / "nested.index")  # in a new index every file is new
        names = [folder + name for name in list_touched(inside)[0]]
        made += [name for name in names if name.endswith(b"/")]
        files += [name for name in names if not name.endswith(b"/") and not is_left_out(places, name)]
        opened.append(folder)
    taken, large = by_size(places.tree, files)
    return replace(
        left,
        names=(*left.names, *taken),
        large=(*left.large, *large),
        nested=tuple(dict.fromkeys((*(name for name in left.nested if name not in opened), *made))),
        links=tuple(link for link in left.links if link + b"/" not in opened),
        opened=tuple(sorted(opened)),
    )


def by_size(
    tree: Path, names: Iterable[bytes], most: int | None = None
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the files small enough for a result, and those that are too large."""
    every = tuple(names)
    bound = MAX_FILE if most is None else most
    large = tuple(name for name in every if _measure_size(tree, name) > bound)
    return tuple(name for name in every if name not in large), large


def _omitted_by_git(tree: Path, index: NodeGit, left: _Leftovers, strays: Iterable[str]) -> str | None:
    """Return a message about names that git silently omits because some systems read them as `.git`."""
    root = os.fsencode(tree)
    like = [
        name for name in left.names if _LIKE_GIT.search(name) and os.path.lexists(os.path.join(root, name))
    ]
    kept = _list_entries(index) if like else {}
    lost = [*(decode_path(name) for name in like if name not in kept), *strays]
    if not lost:
        return None
    more = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
    return f"{', '.join(lost[:10])}{more}: not in the result, as git reserves the name"


def _is_filled(tree: Path, name: bytes) -> bool:
    """Whether a submodule's folder, empty in a new checkout, contains files. Git does not check this."""
    folder = os.path.join(os.fsencode(tree), name)
    if os.path.islink(folder) or not os.path.isdir(folder):
        return False
    try:
        return bool(os.listdir(folder))
    except OSError:
        return True  # the agent made the folder inaccessible, so assume that it contains files


def beyond_links(tree: Path, names: list[bytes]) -> tuple[bytes, ...]:
    """Return names below a path that is now a symlink, which git would follow but the result must not."""
    root, folders = os.fsencode(tree), {folder for name in names for folder in list_parents(name)}
    links = {folder for folder in folders if os.path.islink(os.path.join(root, folder))}
    return tuple(name for name in names if links.intersection(list_parents(name)))


def _measure_size(tree: Path, name: bytes) -> int:
    try:
        seen = os.lstat(os.path.join(os.fsencode(tree), name))
    except OSError:
        return 0
    return seen.st_size if stat.S_ISREG(seen.st_mode) else 0


def _stage(places: AttemptFolders, index: NodeGit, left: _Leftovers, *flags: str) -> str | None:
    """Stage the leftovers, even if files or attributes are unusable. Return a warning on the attributes."""
    options, names = (*_UPDATE, *flags, "--stdin"), join_nul(left.names)
    warning = None
    if left.gone:
        index.must("update-index", "-z", "--force-remove", "--stdin", stdin=join_nul(left.gone))
    if names and not index.ask(*options, stdin=names).ok:
        make_readable(places.tree)
        attributes = places.out / "info" / "attributes"
        done = index.ask(*options, stdin=names)
        if not done.ok:
            warning = (
                "the tree's git attributes could not be applied, so files are committed unchanged: "
                f"{done.err}"
            )[:500]
            attributes.parent.mkdir(exist_ok=True)
            attributes.write_text(_IGNORE_PROGRAM_ATTRIBUTES)
            index.must(*options, stdin=names)
    return warning


def _format_missing(left: _Leftovers, known: frozenset[bytes], refused: str | None) -> tuple[str, ...]:
    """Return messages about agent files that the result lacks. `known`: the repositories set-up made."""
    nested = tuple(name for name in left.nested if name not in known)
    links = tuple(name for name in left.links if name + b"/" not in known)
    words = _leftover_warnings(replace(left, nested=nested, links=links, opened=()))
    return (*words, *([refused] if refused else []))


def _leftover_warnings(left: _Leftovers) -> tuple[str, ...]:
    cases = (
        (left.large, f"larger than {MAX_FILE >> 20} MB, not in the result"),
        (left.nested, "a separate repository, not in the result"),
        (left.opened, "a separate repository; its files are in the result, its history is not"),
        (left.links, "a submodule: changes inside it are not in the result"),
    )
    return tuple(f"{such_as(list(map(decode_path, names)))}: {text}" for names, text in cases if names)


def _only_ignored(names: list[bytes]) -> tuple[str, ...]:
    """Return a message about ignored files, for an empty result only: others would list build folders."""
    return (f"{such_as(list(map(decode_path, names)))}: ignored by git, not in the result",) if names else ()
