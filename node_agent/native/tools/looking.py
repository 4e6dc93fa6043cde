"""The tools ls, find and grep. No link is followed, and nothing is shown that a rule hides."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from node_agent.native.tools.box import Box, Failed, clipped, count_arg, text_arg
from node_agent.policy.commands.programs import Use
from node_agent.policy.globs import covers, pattern_fault
from node_agent.policy.regex import found, regex_fault

MOST_SEEN, MOST_FOUND, MOST_HITS = 50_000, 1_000, 200
MOST_FILE, MOST_LINE = 2 << 20, 300
_SKIPPED = frozenset({".git"})


def ls(box: Box, given: Mapping[str, Any]) -> str:
    """One folder: name, and size of a file; `/` behind a folder."""
    path = text_arg(given, "path", ".")
    with box.look(path, Use.READ) as spot:
        if not spot.is_folder:
            raise Failed(f"{path} is a file; read shows it")
        at = spot.opened(os.O_RDONLY | os.O_DIRECTORY)
        try:
            lines = [_line(box, at, spot.name, name) for name in sorted(os.listdir(at))[: MOST_FOUND + 1]]
        finally:
            os.close(at)
    shown = [line for line in lines[:MOST_FOUND] if line]
    more = [f"[more than {MOST_FOUND} entries]"] if len(lines) > MOST_FOUND else []
    return clipped("\n".join([*shown, *more]) or "[empty]", box.most_chars, "list a folder below it")


def _line(box: Box, at: int, folder: str, name: str) -> str:
    if box.judge.hides(posixpath.normpath(posixpath.join(folder, name))):
        return ""
    state = os.stat(name, dir_fd=at, follow_symlinks=False)
    if stat.S_ISDIR(state.st_mode):
        return f"{name}/"
    if stat.S_ISLNK(state.st_mode):
        return f"{name} -> {os.readlink(name, dir_fd=at)}"
    return f"{name}  {state.st_size}"


def find(box: Box, given: Mapping[str, Any]) -> str:
    """Files by the pattern of their path."""
    pattern, path = text_arg(given, "pattern"), text_arg(given, "path", ".")
    if fault := pattern_fault(pattern):
        raise Failed(f"{pattern!r} is no pattern: {fault}; `*.py` and `src/**/test_*.py` are some")
    hits: list[str] = []
    for name, at, _ in _files(box, path):
        os.close(at)
        if covers(pattern, name):
            hits.append(name)
            if len(hits) >= MOST_FOUND:
                hits.append(f"[more than {MOST_FOUND}: use a narrower pattern or path]")
                break
    return clipped("\n".join(hits) or f"no file fits {pattern}", box.most_chars, "use a narrower pattern")


def grep(box: Box, given: Mapping[str, Any]) -> str:
    """Lines that fit a regular expression, `file:line: text`."""
    pattern, path = text_arg(given, "pattern"), text_arg(given, "path", ".")
    only = text_arg(given, "files", "")
    most = count_arg(given, "most", MOST_HITS, MOST_HITS)
    if fault := regex_fault(pattern):
        raise Failed(f"{pattern!r} is no regular expression (RE2): {fault}")
    hits: list[str] = []
    for name, at, size in _files(box, path):
        with os.fdopen(at, "rb") as file:
            if size > MOST_FILE or (only and not covers(only, name)):
                continue
            hits += _hits(name, file.read(MOST_FILE), pattern)
        if len(hits) >= most:
            hits = [
                *hits[:most],
                f"[the first {most} lines; there may be more: narrow pattern, path or files]",
            ]
            break
    return clipped(
        "\n".join(hits) or f"nothing fits {pattern}", box.most_chars, "narrow pattern, path or files"
    )


def _hits(name: str, data: bytes, pattern: str) -> Iterator[str]:
    text = data.decode("utf-8", "replace")
    if "\0" in text[:8192]:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if found(pattern, line):
            yield f"{name}:{number}: {line[:MOST_LINE]}"


def _files(box: Box, path: str) -> Iterator[tuple[str, int, int]]:
    """(name from the top, a descriptor that the taker closes, size) of each plain file at or below it."""
    with box.look(path, Use.READ) as spot:
        if spot.is_file:
            yield spot.name, spot.opened(os.O_RDONLY), os.stat(f"/proc/self/fd/{spot.fd}").st_size
            return
        seen = 0
        top = spot.opened(os.O_RDONLY | os.O_DIRECTORY)
        try:
            for below, folders, names, at in os.fwalk(".", dir_fd=top, follow_symlinks=False):
                folder = posixpath.normpath(posixpath.join(spot.name, below))
                folders[:] = sorted(one for one in folders if one not in _SKIPPED)
                for name in sorted(names):
                    seen += 1
                    whole = posixpath.normpath(posixpath.join(folder, name))
                    if not box.judge.hides(whole):
                        yield from _plain(at, name, whole)
                if seen > MOST_SEEN:
                    return
        finally:
            os.close(top)


def _plain(at: int, name: str, whole: str) -> Iterator[tuple[str, int, int]]:
    """Nothing for a link, a pipe, or what cannot be read."""
    with suppress(OSError):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        state = os.fstat(fd)
        if stat.S_ISREG(state.st_mode):
            yield whole, fd, state.st_size
        else:
            os.close(fd)
