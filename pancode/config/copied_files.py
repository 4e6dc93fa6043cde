"""Finds the ignored files that each run of a project gets as copies (`copy:` in pancode.yaml), and records
that the owner agreed to the list."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from node_agent.wire.copied import MOST_HIDDEN, find_hidden_values
from node_agent.wire.git import decode_path, split_nul
from node_agent.wire.sealing import MOST_COPIED
from pancode.git.runner import Git, any_owner_env
from pancode.kernel.errors import ConfigError, RefusedError
from pancode.kernel.formatting import format_bytes
from pancode.kernel.host.agreements import add_agreements, read_agreements

AGREED = "copied.json"
"""The file in PANCODE_HOME with the digest of the list that was agreed to, by project."""
MOST_FILES = 64
"""The most files that a run gets as copies."""
SHOWS = "pancode project copy"
"""The command that shows the files, and records that the user agrees."""


def must_be_agreed(home: Path, top: Path, patterns: Sequence[str]) -> None:
    """Raise RefusedError if the owner has not agreed to exactly this list for the project."""
    if not is_agreed(home, top, patterns):
        raise RefusedError(
            f"the repository requests copies of ignored files: {', '.join(patterns)}",
            why="such files usually contain secrets, and you have not agreed to this list",
            fix=f"look at the files, and agree once: {SHOWS} {top}",
            code="copy_not_agreed",
        )


def is_agreed(home: Path, top: Path, patterns: Sequence[str]) -> bool:
    """Whether the owner agreed to exactly this list for the project at `top`. ConfigError."""
    return read_agreements(home / AGREED).get(str(top)) == digest_of(patterns)


def agree(home: Path, top: Path, patterns: Sequence[str]) -> None:
    """Record that the owner agreed to this list for the project at `top`. ConfigError."""
    add_agreements(home / AGREED, {str(top): digest_of(patterns)})


def digest_of(patterns: Sequence[str]) -> str:
    """Return the digest of the list, whatever the order of its patterns."""
    return hashlib.sha256(json.dumps(sorted(patterns)).encode()).hexdigest()


def read_copied(top: Path, patterns: Sequence[str], cached: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the content of the files that the patterns match, by path below `top`. ConfigError for a pattern
    without a file, a link, a file that git tracks or does not ignore or that is in a folder of `cached`, and
    for too many bytes."""
    names = sorted({name for pattern in patterns for name in match_files(top, pattern)})
    if len(names) > MOST_FILES:
        why = f"at most {MOST_FILES} files are copied"
        raise _refuse(f"{len(names)} files match", why, "name fewer files")
    git = Git(top, {**any_owner_env(), "GIT_LITERAL_PATHSPECS": "1"})
    tracked = _list_files(git, names)
    ignored = _list_files(git, names, "-o", "-i", "--exclude-standard")
    for name in names:
        folder = next((one for one in cached if Path(name).is_relative_to(one)), None)
        if folder is not None:
            why = f"it is in {folder}, a folder of cache:, which set-up creates"
            raise _refuse(name, why, f"remove one of them from {top}/pancode.yaml")
        if name in tracked:
            why = "git tracks it, so each run has it already"
            raise _refuse(name, why, f"remove it from copy: in {top}/pancode.yaml")
        if name not in ignored:
            why = "git does not ignore it, so the result of a run could contain it"
            raise _refuse(name, why, f"add it to {top}/.gitignore")
    found = {name: read_plain_file(top, name) for name in names}
    total = sum(map(len, found.values()))
    if total > MOST_COPIED:
        why = f"at most {format_bytes(MOST_COPIED)} are copied, and these have more: {', '.join(found)}"
        raise _refuse("they are too large", why, "name fewer files, or create large ones in setup:")
    counts = {name: len(find_hidden_values({name: data})) for name, data in found.items()}
    if sum(counts.values()) > MOST_HIDDEN:
        worst = max(counts, key=counts.__getitem__)
        why = (
            f"PanCode hides at most {MOST_HIDDEN} values of all copied files, and {worst} has {counts[worst]}"
        )
        raise _refuse(f"{worst} has too many values to hide", why, "name fewer files, or shorten this one")
    return found


def _list_files(git: Git, names: Sequence[str], *options: str) -> set[str]:
    return set(map(decode_path, split_nul(git.must("ls-files", "-z", *options, "--", *names).out)))


def match_files(top: Path, pattern: str) -> list[str]:
    """Return the files, as paths below `top`, that the pattern matches. ConfigError for a link."""
    found = [path for path in top.glob(pattern) if path.is_symlink() or not path.is_dir()]
    for path in found:
        above = [one for one in (path, *path.parents) if one.is_relative_to(top) and one != top]
        link = next((one for one in reversed(above) if one.is_symlink()), None)
        if link is not None:
            name = path.relative_to(top)
            raise _refuse(str(name), f"{link} is a link, and links are not followed", f"ls -l {link}")
    if not found:
        fix = f"create the file, or correct copy: in {top}/pancode.yaml"
        raise _refuse(pattern, f"no file in {top} matches it", fix)
    return [str(path.relative_to(top)) for path in found]


def read_plain_file(top: Path, name: str) -> bytes:
    """Return the content of a regular file, or its beginning if it is too large. ConfigError."""
    try:
        handle = os.open(top / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _refuse(name, "it is not a regular file", f"ls -l {top / name}")
            return file.read(MOST_COPIED + 1)
    except OSError as exc:
        raise _refuse(name, f"it cannot be read: {exc.strerror}", f"ls -l {top / name}") from exc


def _refuse(what: str, why: str, fix: str) -> ConfigError:
    return ConfigError(f"cannot copy ignored files: {what}", why=why, fix=fix, code="bad_copy")
