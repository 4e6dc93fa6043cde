"""Shows what a run changed against its snapshot, as a patch or as numbers of lines per file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from node_agent.wire.git import checked_object, decode_path
from pancode.git.depot import Depot
from pancode.git.repository import GitProject
from pancode.git.runner import Git, GitRefusal
from pancode.kernel.ports import SnapshotTaken

MOST_HIDDEN, MOST_COMMITS = 500, 500
_LINE = "--format=%h %ad %an: %s"
# Never run diff programs that a repository configures.
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "-M")


@dataclass(frozen=True, slots=True)
class FileStat:
    """One changed file. `added`, `removed`: lines, None for a binary; `old_path`: before a rename."""

    path: str
    added: int | None
    removed: int | None
    old_path: str | None = None


def diff_patch(depot: Depot, repo_id: str, snapshot: str, commit: str) -> bytes:
    """Return the change as a patch that `git apply` accepts, binaries included."""
    pair = (checked_object(snapshot), checked_object(commit))
    return depot.git(repo_id).must("diff", *_PLAIN, "--binary", *pair).out


def shown_change(
    depot: Depot, repo_id: str, old: str, new: str, most: int, hides: Callable[[str], bool]
) -> bytes:
    """Return the change as its reader may see it: without files that `hides` matches, cut at `most` bytes."""
    pair = (checked_object(old), checked_object(new))
    git = depot.git(repo_id).having(GIT_LITERAL_PATHSPECS="0")
    # without this option, a renamed file would show the text of a hidden file
    plain = (*_PLAIN[:-1], "--no-renames")
    names = git.must("diff", *plain, "--name-only", "-z", *pair).out.split(b"\0")
    hidden = [os.fsdecode(name) for name in names if name and hides(decode_path(name))]
    if len(hidden) > MOST_HIDDEN:
        return b"[rules hide %d files of this change, which are too many to show the others]\n" % len(hidden)
    places = [".", *(f":(exclude,literal){name}" for name in hidden)]
    kept = git.must("diff", *plain, *pair, "--", *places).out
    if len(kept) > most:
        kept = kept[:most] + b"\n[%d of %d bytes of this change]\n" % (most, len(kept))
    return kept


def format_history(
    project: GitProject,
    depot: Depot,
    taken: SnapshotTaken,
    commits: str,
    most: int,
    hides: Callable[[str], bool],
) -> bytes:
    """Return the commits of a range, and their change as one patch. Only commits in the snapshot's history
    may be shown, because the run has these anyway."""
    first, *more = re.split(r"\.{2,3}", commits)
    if len(more) > 1:
        raise _no_range(commits)
    git, base = depot.git(taken.repo), taken.base or taken.snapshot
    old, *last = [_commit(project, git, base, side or "HEAD") for side in (first, *more)]
    new = last[0] if last else base
    log = git.must("log", "--no-decorate", "--date=iso", f"-n{MOST_COMMITS}", _LINE, f"{old}..{new}").out
    change = shown_change(depot, taken.repo, old, last[0] if last else taken.snapshot, most, hides)
    return log + b"\n" + change


def _commit(project: GitProject, git: Git, base: str, name: str) -> str:
    command = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    found = project.git.ask(*command)
    if not found.ok or not git.ask("merge-base", "--is-ancestor", found.text(), base).ok:
        raise _no_range(name)
    return found.text()


def _no_range(text: str) -> GitRefusal:
    return GitRefusal(
        f"{text} is not a commit or a range A..B in the history of the dispatched commit",
        fix="give a run, or commits as git log shows them: HEAD~3..HEAD, or main",
    )


def diff_stat(depot: Depot, repo_id: str, snapshot: str, commit: str) -> tuple[FileStat, ...]:
    """Return the changed files, ordered by name."""
    pair = (checked_object(snapshot), checked_object(commit))
    fields = depot.git(repo_id).must("diff", *_PLAIN, "--numstat", "-z", *pair).out.split(b"\0")
    found, words = [], iter(fields)
    for head in words:
        if head:
            added, removed, path = head.split(b"\t", 2)
            # An empty path marks a rename: the old and the new name follow.
            old = None if path else next(words)
            name = path or next(words)
            plus, minus = (None if count == b"-" else int(count) for count in (added, removed))
            found.append(
                FileStat(decode_path(name), plus, minus, decode_path(old) if old is not None else None)
            )
    return tuple(found)


def format_stat(stat: FileStat) -> str:
    """Return the line about a changed file."""
    counts = "binary" if stat.added is None else f"+{stat.added} -{stat.removed}"
    name = f"{stat.old_path} -> {stat.path}" if stat.old_path is not None else stat.path
    return f"{counts:>12}  {name}\n"


def count_lines(diff: bytes) -> bytes:
    """Return the numbers of added and removed lines of each file in a diff, a line for each file."""
    counts: dict[bytes, list[int]] = {}
    mine = [0, 0]
    is_inside = False
    for line in diff.split(b"\n"):
        if line.startswith(b"diff --git "):
            mine, is_inside = counts.setdefault(line.partition(b" b/")[2] or line[11:], [0, 0]), False
        elif line.startswith(b"@@ "):
            is_inside = True
        elif is_inside and line[:1] in (b"+", b"-"):
            mine[line[:1] == b"-"] += 1
    stats = (FileStat(decode_path(name), added, removed) for name, (added, removed) in counts.items())
    return "".join(map(format_stat, stats)).encode()
