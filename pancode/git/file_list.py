"""Decides which files of a working tree go into a snapshot and which trees are refused; finds git filters."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import posixpath
import re
import shlex
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from node_agent.wire.git import (
    Change,
    decode_path,
    join_nul,
    list_parents,
    parse_raw_diff,
    split_nul,
    with_config,
)
from pancode.git.repository import GitProject
from pancode.git.runner import Git, GitRefusal
from pancode.kernel.formatting import count_noun, first_few

LFS = b"lfs"
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\n"
)
_MOST = 1024
"""The maximum size in bytes of a Git LFS pointer, by its specification."""
_BLOCK = 1 << 20


def find_filters(project: GitProject, git: Git, names: Iterable[bytes]) -> dict[bytes, bytes]:
    """Map each file that has an active git filter (one that runs a program, or Git LFS) to the filter. Git's
    attributes are read from all four places: the tree, the repository, the user, the machine."""
    if not (stdin := join_nul(names)):
        return {}
    own = with_config(git.env, [("core.attributesFile", project.attributes)])
    seen = Git(git.cwd, {**own, "GIT_ATTR_NOSYSTEM": "0"})
    fields = seen.must("check-attr", "-z", "--stdin", "filter", stdin=stdin).out.split(b"\0")
    known = {*(os.fsencode(name) for name in project.filters), LFS}
    pairs = zip(fields[0::3], fields[2::3], strict=False)
    return {path: value for path, value in pairs if value in known}


def read_pointers(git: Git, specs: Mapping[bytes, bytes]) -> dict[bytes, str]:
    """Map each file whose blob is a Git LFS pointer to the pointer's SHA-256. `specs`: blob names for git."""
    if not (plain := {name: spec for name, spec in specs.items() if b"\n" not in spec}):
        return {}
    stdin = b"".join(spec + b"\n" for spec in plain.values())
    sizes = git.must("cat-file", "--batch-check=%(objectsize)", stdin=stdin).out.splitlines()
    pairs = zip(plain.items(), sizes, strict=True)
    small = {name: spec for (name, spec), size in pairs if size.isdigit() and int(size) <= _MOST}
    stdin = b"".join(spec + b"\n" for spec in small.values())
    rest = git.must("cat-file", "--batch=%(objectsize)", stdin=stdin).out
    found = {}
    for name in small:
        size, _, rest = rest.partition(b"\n")
        body, rest = rest[: int(size)], rest[int(size) + 1 :]
        if match := _POINTER.match(body):
            found[name] = match[1].decode()
    return found


def kept_pointers(project: GitProject, index: Git, names: Iterable[bytes]) -> dict[bytes, str]:
    """Map each of these files under Git LFS to the SHA-256 in its pointer in the index."""
    own = project.git.having(GIT_INDEX_FILE=index.env["GIT_INDEX_FILE"])
    under = [name for name, value in find_filters(project, index, names).items() if value == LFS]
    return read_pointers(own, {name: b":" + name for name in under})


def find_unchanged(project: GitProject, index: Git, names: Iterable[bytes]) -> set[bytes]:
    """Return the Git LFS files with only a changed time: their content matches the pointer in the index."""
    top = os.fsencode(project.top)
    kept = kept_pointers(project, index, names)
    return {name for name, digest in kept.items() if _hash_file(os.path.join(top, name)) == digest}


def _hash_file(path: bytes) -> str:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def unless_filtered(
    project: GitProject, depot: Git, changes: tuple[Change, ...], made: tuple[str, str | None]
) -> None:
    """Raise GitRefusal if a commit would contain the raw content of a file that a git filter must convert.

    `changes`: those of the whole landing. `made`: the last commit of the landing (empty if there is only one)
    and the tip on which it lands.
    """
    commit, tip = made
    blobs = {(one.path, one.new) for one in changes if one.new_mode.startswith("100")}
    if commit:
        own = depot.text("rev-list", "--no-merges", commit, *([f"^{tip}"] if tip else []))
        options = ("-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-commit-id", "--root", "--stdin")
        each = parse_raw_diff(depot.must("diff-tree", *options, stdin=f"{own}\n".encode()).out)
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
            fix="apply the change to your files: pancode land RUN; your own git add then runs the filter",
            paths=names,
        )


ANY = "*"
"""The pattern that allows every untracked file."""
NAMES = (
    *(".env", ".env.*", "*.env", ".netrc", "_netrc", ".pgpass", ".my.cnf", ".npmrc", ".pypirc", "*.ovpn"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "*.pem", "*.key"),
    *("*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.asc", "*.gpg", ".htpasswd", ".git-credentials"),
    *("credentials", "credentials.json", "credentials.y*ml", "secrets.json", "secrets.toml", "secrets.y*ml"),
    *("service-account*.json", "service_account*.json", "client_secret*.json", "*.tfstate", "*.tfvars"),
    *(".vault-token", "kubeconfig", ".dockercfg", "token.json", "auth.json", "*.ppk"),
)
"""Patterns of file names, in lower case, that usually mean a secret."""
HARMLESS = ("*.example", "*.sample", "*.template", "*.dist", "*.pub", "*.example.*")


def is_private(name: bytes) -> bool:
    """Whether a file with this path usually contains a secret, by its file name alone."""
    own = posixpath.basename(os.fsdecode(name)).lower()
    return _fits_pattern(own, NAMES) and not _fits_pattern(own, HARMLESS)


def find_withheld(untracked: Iterable[bytes], allowed: Iterable[str]) -> tuple[bytes, ...]:
    """Return the untracked files that must not be sent. `allowed`: patterns of full paths or file names."""
    patterns = tuple(allowed)
    return tuple(name for name in untracked if is_private(name) and not _is_allowed(name, patterns))


def _is_allowed(name: bytes, patterns: tuple[str, ...]) -> bool:
    path = os.fsdecode(name)
    return _fits_pattern(path, patterns) or _fits_pattern(posixpath.basename(path), patterns)


def _fits_pattern(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


MB = 1 << 20
NOT_SENT = "untracked, not sent because such names usually contain secrets; see: pancode dispatch -h"
SENT = "untracked, sent as you allowed, though files with such names usually contain secrets"
SHOWN = 10
"""How many paths a warning lists; the other paths are only counted."""


@dataclass(frozen=True, slots=True)
class ListingLimits:
    """The most bytes that a snapshot may add: per newly hashed file, and for all untracked files together."""

    file: int = 100 * MB
    untracked: int = 1024 * MB
    skip_large_untracked: bool = False
    """Leave large untracked files out instead of refusing (a landing does not merge them anyway)."""
    allowed: tuple[str, ...] = ()
    """Patterns of untracked files that are sent although such names usually mean secrets."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A snapshot's files. `names`: to hash again, sorted; `untracked`: unknown to git; `gone`: removed;
    `hidden`: files whose local edits git does not report."""

    names: tuple[bytes, ...]
    gone: tuple[bytes, ...]
    untracked: tuple[bytes, ...]
    warnings: tuple[str, ...]
    hidden: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Entries:
    """What git lists: all entries of its index, and of these unmerged files, submodule links, hidden edits,
    and edited files; files unknown to it."""

    known: list[bytes] = field(default_factory=list)
    unmerged: set[bytes] = field(default_factory=set)
    links: set[bytes] = field(default_factory=set)
    hidden: list[bytes] = field(default_factory=list)
    edited: set[bytes] = field(default_factory=set)
    others: set[bytes] = field(default_factory=set)

    @classmethod
    def of(cls, raw: bytes) -> _Entries:
        """Parse the output of `ls-files -z -s -v`, and of its other lists: `TAG MODE OID STAGE<TAB>PATH`, `?
        PATH`."""
        found = cls()
        for line in split_nul(raw):
            if line.startswith(b"? "):
                found.others.add(line[2:])
                continue
            head, path = line.split(b"\t", 1)
            tag, mode, _, stage = head.split(b" ")
            (found.edited.add if tag.upper() in (b"C", b"R") else found.known.append)(path)
            if stage != b"0":
                found.unmerged.add(path)
            if mode == b"160000":
                found.links.add(path)
            elif tag in (b"S", b"h", b"s", b"m"):
                found.hidden.append(path)
        return found


def list_tree(project: GitProject, index: Git, limits: ListingLimits) -> Listing:
    """Return a snapshot's files. `index`: hardened git on a copy of the user's index. Raises GitRefusal."""
    found = index.must("ls-files", "-z", "-s", "-v", "-c", "-m", "-d", "-o", "--exclude-standard")
    entries = _Entries.of(found.out)
    changed = entries.edited | entries.unmerged
    changed -= find_unchanged(project, index, changed)
    nested = tuple(sorted(n for n in entries.others if n.endswith(b"/")))
    untracked = tuple(sorted(n for n in entries.others if not n.endswith(b"/")))
    private = find_withheld(untracked, limits.allowed)
    paths = {name: os.path.join(os.fsencode(project.top), name) for name in untracked}
    plain = {name: path for name, path in paths.items() if os.path.isfile(path) and not os.path.islink(path)}
    closed = {name for name, path in plain.items() if not os.access(path, os.R_OK)}
    untracked = tuple(name for name in untracked if name not in {*private, *closed})
    untracked = _within_limits(project, changed - entries.links, untracked, limits)
    gone = beyond_links(project.top, changed)
    names = tuple(sorted((changed | set(untracked)) - entries.links - gone))
    raw = _refuse_filters(project, index, names)
    dirty = tuple(sorted(changed & entries.links))
    secret = ((private, NOT_SENT), (tuple(filter(is_private, untracked)), SENT))
    warnings = [f"{format_first(names)}: {text}" for names, text in secret if names]
    top = os.fsencode(project.top)
    hidden = [name for name in entries.hidden if os.path.lexists(os.path.join(top, name))]
    cases = (
        (sorted(entries.unmerged), "in conflict: sent with its conflict markers"),
        (hidden, "marked assume-unchanged or skip-worktree: local edits do not travel"),
        (sorted(entries.links), f"a submodule: its files do not travel; {_CLONED}"),
        (dirty, "a submodule at another commit than recorded: the recorded commit is sent"),
        (nested, "a nested git repository: not sent"),
        (sorted(closed), "untracked, and you have no permission to read it: not sent"),
        (raw, "under Git LFS and changed: its raw bytes are sent, not a pointer"),
    )
    warnings += [
        *[f"{format_first(names)}: {text}" for names, text in cases if names],
        *_list_closed_folders(found.err),
    ]
    warnings += _left_behind(project, index, [name for name in entries.known if name not in changed])
    return Listing(names, tuple(sorted(gone)), untracked, tuple(warnings), tuple(entries.hidden))


def _within_limits(
    project: GitProject, changed: set[bytes], untracked: tuple[bytes, ...], limits: ListingLimits
) -> tuple[bytes, ...]:
    """Return the untracked files that may be sent. Raises GitRefusal if files exceed the limits."""
    sizes = {name: _measure_file(project, name) for name in untracked}
    large = {name for name, size in sizes.items() if size > limits.file}
    if limits.skip_large_untracked:
        return tuple(name for name in untracked if name not in large)
    large |= {name for name in changed if _measure_file(project, name) > limits.file}
    if large:
        raise GitRefusal(
            f"{_count(large, 'file')} over {limits.file // MB} MB would be copied: "
            f"{format_first(sorted(large))}",
            why="untracked and changed files are part of the snapshot",
            fix="add them to .gitignore, or move them out of the working tree",
            paths=tuple(map(decode_path, sorted(large))),
        )
    total = sum(sizes.values())
    if total > limits.untracked:
        biggest = sorted(untracked, key=lambda name: -sizes[name])[:SHOWN]
        raise GitRefusal(
            f"untracked files are too large: {total // MB} MB in total, the limit is "
            f"{limits.untracked // MB} MB",
            why=f"the largest: {format_first(biggest)}",
            fix="add built and downloaded files to .gitignore",
            paths=tuple(map(decode_path, biggest)),
        )
    return untracked


def _measure_file(project: GitProject, name: bytes) -> int:
    try:
        seen = os.lstat(os.path.join(os.fsencode(project.top), name))
    except OSError:
        return 0
    return seen.st_size if stat.S_ISREG(seen.st_mode) else 0


def beyond_links(top: Path, names: Iterable[bytes]) -> set[bytes]:
    """Return the names below what is now a symbolic link: git would follow it, but the files are removed."""
    root, every = os.fsencode(top), list(names)
    folders = {folder for name in every for folder in list_parents(name)}
    links = {folder for folder in folders if os.path.islink(os.path.join(root, folder))}
    return {name for name in every if links.intersection(list_parents(name))}


def _refuse_filters(project: GitProject, index: Git, names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the changed files under Git LFS; GitRefusal for one under another filter program. PanCode's git
    runs no filter: a file protected by an encryption filter would be sent in plain text."""
    under = find_filters(project, index, names)
    closed = tuple(path for path, value in under.items() if value != LFS)
    if closed:
        raise GitRefusal(
            f"{_count(closed, 'changed file')} with a filter that PanCode does not run: "
            f"{format_first(closed)}",
            why=("content that the filter removes (plain text, notebook outputs) would leave this machine"),
            fix=(
                f"git add {shlex.join(map(decode_path, closed[:SHOWN]))}, then run the command again: the "
                "run gets what git has staged, and your files do not change"
            ),
            paths=tuple(map(decode_path, closed)),
        )
    return tuple(under)


def _left_behind(project: GitProject, index: Git, names: list[bytes]) -> list[str]:
    """Return the warnings about Git LFS files whose contents are not sent: the run gets pointers."""
    files = (project.attributes, str(project.common_dir / "info" / "attributes"))
    if not any(name.endswith(b".gitattributes") for name in names) and not any(map(os.path.isfile, files)):
        return []
    found = sorted(kept_pointers(project, index, names))
    return [f"{format_first(found)}: {_POINTERS}"] if found else []


_POINTERS = "under Git LFS: the run gets a pointer, not the content; a setup with git lfs pull can fetch it"
_CLONED = 'a run that needs them has setup: ["git clone URL PATH"] in pancode.yaml'


def _list_closed_folders(err: str) -> list[str]:
    """Return a warning for each folder that git could not read, so that no folder is left out silently."""
    lines = (line.partition("could not open directory ")[2] for line in err.splitlines())
    return [f"{line}: the folder's files do not travel" for line in lines if line]


def format_first(names: Iterable[bytes]) -> str:
    """Format the first few names, and how many more there are."""
    return first_few([decode_path(name) for name in names], SHOWN)


def _count(names: Iterable[bytes], what: str) -> str:
    return count_noun(len(list(names)), what)
