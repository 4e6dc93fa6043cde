"""Builds the result commit from the files as they lie; reads nothing that the agent has configured."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from node_agent.attempt.claims import such_as
from node_agent.attempt.ports import AttemptResult, CommitStamp
from node_agent.wire.git import join_nul, parents, parse_raw_diff, shown, split_nul, stamp_env
from node_agent.workspace.baseline import Baseline, Entry, as_set_up, changes_of, restored
from node_agent.workspace.changes import all_changes
from node_agent.workspace.errors import WorkspaceFailure
from node_agent.workspace.folders import AttemptFolders, make_readable
from node_agent.workspace.gitrun import NodeGit
from node_agent.workspace.guide import is_left_out
from node_agent.workspace.history import History, head_of
from node_agent.workspace.pipes import without_pipes

_LIKE_GIT = re.compile(rb"(^|/)(\.[^/]*g[^/]*i[^/]*t|git~)", re.IGNORECASE)
"""Names that git may refuse: only for these it is asked."""
MAX_FILE = 100 << 20
"""Bytes; a larger new or changed file stays out of the result and is named."""
AUTHOR = ("PanCode", "result@pancode.invalid")
"""Author of the commit that holds what an agent left uncommitted."""
PATIENCE_S = 300.0
"""For one git over an agent's tree, should there be a way of holding it up that we do not know."""
MAX_LISTED = 200
"""So many ignored files are named."""
_SUBMODULES = re.compile(rb"(?<![^\0])160000 [^\t\0]*\t([^\0]+)")
"""In the list of all files, which for a large repository is not taken to pieces."""
_UPDATE = ("update-index", "-z", "--add", "--remove", "--replace")
_IGNORE_PROGRAM_ATTRIBUTES = "* !filter !working-tree-encoding !ident -text\n"


@dataclass(frozen=True, slots=True)
class ResultCommit(AttemptResult):
    """The port's Result, and names of what stayed out: ignored files, and repositories inside the tree.

    An `empty` result with `ignored`, `nested` or `warnings` must not be shown as "nothing done".
    """

    ignored: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Leftovers:
    """The agent's files: those to be hashed, and those that stay out."""

    names: tuple[bytes, ...]
    gone: tuple[bytes, ...]
    nested: tuple[bytes, ...]
    large: tuple[bytes, ...]
    links: tuple[bytes, ...]


def build(
    places: AttemptFolders,
    out: NodeGit,
    snapshot: str,
    history: History,
    stamp: CommitStamp,
    before: Baseline | None = None,
) -> ResultCommit:
    """The commit that holds the files: the agent's own HEAD when that is all, else one more on top of it.

    `before`: what set-up left, which is none of the agent's.
    """
    index, piped = fresh_index(places, history.tip, places.out / "result.index")
    left = _leftovers(places, index)
    odd = _stage(places, index, left)
    refused = _omitted_by_git(places.tree, index, left)
    blocked = _without_set_up(index, before) if before is not None and before.changes else None
    tree = index.must("write-tree").text()
    commit = history.tip
    if tree != _tree_of(out, commit) or not history.based:
        parents = (history.tip,) if history.based else (snapshot, history.tip)
        asked = [word for parent in parents for word in ("-p", parent)]
        signed = NodeGit(places.out, variables=stamp_env(*AUTHOR, stamp.date_ms))
        commit = signed.must("commit-tree", tree, *asked, stdin=_message(stamp)).text()
    ignored = split_nul(index.must("ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory").out)
    kind = _kind(snapshot, commit, _tree_of(out, snapshot), tree)
    unseen = _only_ignored(ignored) if kind == "empty" else ()
    warnings = (history.warning, odd, blocked, *_clipped(piped), *_leftover_warnings(left), refused, *unseen)
    return ResultCommit(
        kind=kind,
        commit=None if commit == snapshot else commit,
        files_changed=changed_between(out, snapshot, commit),
        changes=all_changes(out, places.tree, (snapshot, commit), history.tip),
        ignored=tuple(map(shown, ignored[:MAX_LISTED])),
        nested=tuple(map(shown, left.nested)),
        warnings=tuple(text for text in warnings if text),
    )


def survey(places: AttemptFolders, snapshot: str) -> Baseline:
    """The difference of the files to the snapshot now, large ones too. Stores no content of them."""
    index, _ = fresh_index(places, snapshot, places.out / "baseline.index")
    left = _leftovers(places, index)
    every = replace(left, names=(*left.names, *left.large), large=())
    _stage(places, index, every, "--info-only")
    raw = index.must("diff-index", "--cached", "-z", "--raw", "--no-renames", "--no-abbrev", snapshot).out
    head, _ = head_of(places.git)
    return Baseline(head, changes_of(list(parse_raw_diff(raw))), frozenset(left.nested))


def changed_after(index: NodeGit, before: Baseline | None) -> tuple[bytes, ...]:
    """Files that differ from the index, but for those that are as set-up left them."""
    names = touched(index)
    if before is None:
        return names
    of_set_up = [name for name in names if name in before.changes]
    index.ask(*_UPDATE, "--info-only", "--stdin", stdin=join_nul(of_set_up))  # else they count as changed
    same = (as_set_up(before, _entries(index)) if before.changes else frozenset()) | before.nested
    return tuple(name for name in names if name not in same)


def _without_set_up(index: NodeGit, before: Baseline) -> str | None:
    """Put back what only set-up has changed; words on what could not be."""
    back = restored(before, _entries(index))
    gone = [path for path, entry in back.entries.items() if entry is None]
    lines = [f"{entry[0]} {entry[1]}\t".encode() + path for path, entry in back.entries.items() if entry]
    index.must("update-index", "-z", "--force-remove", "--stdin", stdin=join_nul(gone))
    index.must("update-index", "-z", "--index-info", stdin=join_nul(lines))
    if not back.blocked:
        return None
    names = ", ".join(map(shown, back.blocked[:10]))
    return f"{names}: changed by set-up, and in the result, as files of the agent are in the way"


def _entries(index: NodeGit) -> dict[bytes, Entry]:
    """Every file of the index."""
    lines = (line.split(b"\t", 1) for line in split_nul(index.must("ls-files", "-z", "-s").out))
    pairs = ((path, head.decode("ascii").split()) for head, path in lines)
    return {path: (mode, oid) for path, (mode, oid, _) in pairs}


def fresh_index(places: AttemptFolders, commit: str, index: Path) -> tuple[NodeGit, tuple[str, ...]]:
    """Git over the agent's tree with a new index of `commit`, every file compared by its content.

    And words on what was taken out of the tree, as git would have waited for it.
    """
    removed = without_pipes(places.tree)
    for leftover in (index, index.with_name(f"{index.name}.lock")):
        leftover.unlink(missing_ok=True)
    git = NodeGit(places.out, places.tree, {"GIT_INDEX_FILE": str(index)}, PATIENCE_S)
    git.must("read-tree", commit)
    git.ask("update-index", "-q", "--refresh")
    return git, removed


def touched(index: NodeGit) -> tuple[bytes, ...]:
    """Files that differ from the index: changed, deleted, new and not ignored (a folder ends with /)."""
    changed = set(split_nul(index.must("ls-files", "-z", "-m", "-d").out))
    return tuple(sorted(changed | set(_others(index))))


def _others(index: NodeGit) -> list[bytes]:
    """New files; a folder that an agent closed is opened, or its files would be silently left out."""
    seen = index.must("ls-files", "-z", "-o", "--exclude-standard")
    if "could not open directory" in seen.err:
        make_readable(index.cwd)
        seen = index.must("ls-files", "-z", "-o", "--exclude-standard")
    return split_nul(seen.out)


def changed_between(git: NodeGit, old: str, new: str) -> tuple[str, ...]:
    """Names of files that differ between two commits."""
    raw = git.must("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new).out
    return tuple(shown(change.path) for change in parse_raw_diff(raw))


def _leftovers(places: AttemptFolders, index: NodeGit) -> _Leftovers:
    tree = places.tree
    entries = index.must("ls-files", "-z", "-s").out
    links = {found[1] for found in _SUBMODULES.finditer(entries)}
    names = tuple(name for name in touched(index) if not is_left_out(places, name))
    nested = tuple(name for name in names if name.endswith(b"/"))
    plain = [name for name in names if not name.endswith(b"/") and name not in links]
    large = tuple(name for name in plain if _size(tree, name) > MAX_FILE)
    gone = _beyond_links(tree, plain)
    return _Leftovers(
        names=tuple(name for name in plain if name not in large and name not in gone),
        gone=gone,
        nested=nested,
        large=large,
        links=tuple(sorted(links.intersection(names) | {name for name in links if _is_filled(tree, name)})),
    )


def _omitted_by_git(tree: Path, index: NodeGit, left: _Leftovers) -> str | None:
    """Names that git leaves out silently: another system takes them for git's own folder."""
    root = os.fsencode(tree)
    like = [
        name for name in left.names if _LIKE_GIT.search(name) and os.path.lexists(os.path.join(root, name))
    ]
    kept = _entries(index) if like else {}
    lost = [shown(name) for name in like if name not in kept]
    if not lost:
        return None
    more = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
    return f"{', '.join(lost[:10])}{more}: git takes the name for a folder of its own, not in the result"


def _is_filled(tree: Path, name: bytes) -> bool:
    """Check for files in a submodule's folder, which is empty in a checkout. Git does not look there."""
    folder = os.path.join(os.fsencode(tree), name)
    if os.path.islink(folder) or not os.path.isdir(folder):
        return False
    try:
        return bool(os.listdir(folder))
    except OSError:
        return True  # closed by the agent: there is a reason for that


def _beyond_links(tree: Path, names: list[bytes]) -> tuple[bytes, ...]:
    """Names below what is a symbolic link now: git would look through the link, for us they are gone."""
    root, folders = os.fsencode(tree), {folder for name in names for folder in parents(name)}
    links = {folder for folder in folders if os.path.islink(os.path.join(root, folder))}
    return tuple(name for name in names if links.intersection(parents(name)))


def _size(tree: Path, name: bytes) -> int:
    try:
        seen = os.lstat(os.path.join(os.fsencode(tree), name))
    except OSError:
        return 0
    return seen.st_size if stat.S_ISREG(seen.st_mode) else 0


def _stage(places: AttemptFolders, index: NodeGit, left: _Leftovers, *flags: str) -> str | None:
    """Hash the leftovers; files or attributes that an agent made unreadable do not stop it."""
    options, names = (*_UPDATE, *flags, "--stdin"), join_nul(left.names)
    warning = None
    index.must("update-index", "-z", "--force-remove", "--stdin", stdin=join_nul(left.gone))
    if not index.ask(*options, stdin=names).ok:
        make_readable(places.tree)
        attributes = places.out / "info" / "attributes"
        done = index.ask(*options, stdin=names)
        if not done.ok:
            warning = (
                f"attributes of the tree could not be honoured, files are taken as they are: {done.err}"[:500]
            )
            attributes.parent.mkdir(exist_ok=True)
            attributes.write_text(_IGNORE_PROGRAM_ATTRIBUTES)
            index.must(*options, stdin=names)
    return warning


def _tree_of(git: NodeGit, commit: str) -> str:
    return git.text("rev-parse", f"{commit}^{{tree}}")


def _kind(snapshot: str, commit: str, old_tree: str, tree: str) -> Literal["change", "no_change", "empty"]:
    """`empty`: no commit and no difference; `no_change`: commits, the same tree."""
    if tree != old_tree:
        return "change"
    return "empty" if commit == snapshot else "no_change"


def _message(stamp: CommitStamp) -> bytes:
    return (stamp.message.replace("\0", "").strip() or "PanCode result").encode("utf-8", "replace") + b"\n"


def _leftover_warnings(left: _Leftovers) -> tuple[str | None, ...]:
    cases = (
        (left.large, f"larger than {MAX_FILE >> 20} MB, not in the result"),
        (left.nested, "a repository of its own, not in the result"),
        (left.links, "a submodule: nothing that was done inside it is in the result"),
    )
    return tuple(f"{such_as(list(map(shown, names)))}: {text}" for names, text in cases if names)


def _clipped(words: tuple[str, ...]) -> tuple[str, ...]:
    more = len(words) - 10
    return (*words[:10], f"and {more} more like these") if more > 0 else words


def _only_ignored(names: list[bytes]) -> tuple[str, ...]:
    """Said of an empty result only: elsewhere it would be the noise of every build folder."""
    return (f"{such_as(list(map(shown, names)))}: ignored by git, not in the result",) if names else ()


def must_be_commit(git: NodeGit, commit: str) -> None:
    if git.commit_at(commit) != commit:
        raise WorkspaceFailure(f"{commit} is not a commit of {git.git_dir}")
