"""Which files are under a filter of git's that PanCode does not run, and what that means for them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping

from node_agent.wire.git import Change, decode_path, join_nul, parse_raw_diff, with_config
from pancode.git.repository import GitProject
from pancode.git.runner import Git, GitRefusal
from pancode.kernel.formatting import first_few

LFS = b"lfs"
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\n"
)
_MOST = 1024
"""The most bytes of a Git LFS pointer, by its specification."""
_BLOCK = 1 << 20


def find_filters(project: GitProject, git: Git, names: Iterable[bytes]) -> dict[bytes, bytes]:
    """The filter of each of these files that has one with a program, or Git LFS.

    Git's attributes are read from all four places: the tree, the repository, the user, the machine.
    """
    asked = join_nul(names)
    own = with_config(git.env, [("core.attributesFile", project.attributes)])
    seen = Git(git.cwd, {**own, "GIT_ATTR_NOSYSTEM": "0"})
    fields = seen.must("check-attr", "-z", "--stdin", "filter", stdin=asked).out.split(b"\0")
    known = {*(os.fsencode(name) for name in project.filters), LFS}
    pairs = zip(fields[0::3], fields[2::3], strict=False)
    return {path: value for path, value in pairs if value in known}


def read_pointers(git: Git, specs: Mapping[bytes, bytes]) -> dict[bytes, str]:
    """The SHA-256 in each blob that is a Git LFS pointer, by file name. `specs`: git's names of the blobs."""
    plain = {name: spec for name, spec in specs.items() if b"\n" not in spec}
    asked = b"".join(spec + b"\n" for spec in plain.values())
    sizes = git.must("cat-file", "--batch-check=%(objectsize)", stdin=asked).out.splitlines()
    pairs = zip(plain.items(), sizes, strict=True)
    small = {name: spec for (name, spec), size in pairs if size.isdigit() and int(size) <= _MOST}
    asked = b"".join(spec + b"\n" for spec in small.values())
    rest = git.must("cat-file", "--batch=%(objectsize)", stdin=asked).out
    found = {}
    for name in small:
        size, _, rest = rest.partition(b"\n")
        body, rest = rest[: int(size)], rest[int(size) + 1 :]
        if match := _POINTER.match(body):
            found[name] = match[1].decode()
    return found


def kept_pointers(project: GitProject, index: Git, names: Iterable[bytes]) -> dict[bytes, str]:
    """The SHA-256 in the pointers, as the index has them, of those files that are under Git LFS."""
    own = project.git.having(GIT_INDEX_FILE=index.env["GIT_INDEX_FILE"])
    under = [name for name, value in find_filters(project, index, names).items() if value == LFS]
    return read_pointers(own, {name: b":" + name for name in under})


def find_unchanged(project: GitProject, index: Git, names: Iterable[bytes]) -> set[bytes]:
    """Git LFS files that only have a new time: their content is that of their pointer in the index."""
    top = os.fsencode(project.top)
    kept = kept_pointers(project, index, names)
    return {name for name, digest in kept.items() if _digest(os.path.join(top, name)) == digest}


def _digest(path: bytes) -> str:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def unless_filtered(
    project: GitProject, depot: Git, changes: tuple[Change, ...], made: tuple[str, str | None]
) -> None:
    """GitRefusal where a commit would hold the raw content of a filtered file, as a run's machine has it.

    `changes`: of the whole landing. `made`: its last commit (empty where it is the only one), and the tip on
    which it lands.
    """
    commit, tip = made
    blobs = {(one.path, one.new) for one in changes if one.new_mode.startswith("100")}
    if commit:
        own = depot.text("rev-list", "--no-merges", commit, *([f"^{tip}"] if tip else []))
        asked = ("-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-commit-id", "--root", "--stdin")
        each = parse_raw_diff(depot.must("diff-tree", *asked, stdin=f"{own}\n".encode()).out)
        blobs |= {(one.path, one.new) for one in each if one.new_mode.startswith("100")}
    under = find_filters(project, project.git, {path for path, _ in blobs})
    raw = set[bytes]()
    for path, oid in blobs:
        if path in under and not (under[path] == LFS and read_pointers(depot, {path: oid.encode()})):
            raw.add(path)
    if raw:
        names = tuple(map(decode_path, sorted(raw)))
        which = "Git LFS" if all(under[path] == LFS for path in raw) else "a filter"
        raise GitRefusal(
            f"the run changed files with the filter {which}: {first_few(names, 10)}",
            why="PanCode does not run git filters, so the commits would contain the raw content",
            fix="land into your files, where your own git add runs the filter: pancode land RUN",
            paths=names,
        )
