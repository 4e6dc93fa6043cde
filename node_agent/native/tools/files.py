"""The tools that read, write, edit and search files, and the values that all tools share."""

from __future__ import annotations

import difflib
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from node_agent.native.judge import Judge
from node_agent.native.places import NotFound, Spot, Tree, write_all
from node_agent.policy.commands.programs import Use
from node_agent.policy.patterns import has_match, is_covering, pattern_fault, regex_fault
from node_agent.runtimes.workerspec import MadeTool
from node_agent.wire.clock import Clock


class Failed(Exception):
    """The error when a tool did not do its work; the text tells the model what to do instead."""


@dataclass
class Box:
    """The environment of one run's tools. `env`: for commands; `most_chars`: of one tool's answer; `changed`:
    files changed by file tools."""

    tree: Tree
    judge: Judge
    clock: Clock
    env: Mapping[str, str]
    most_chars: int
    changed: dict[str, None] = field(default_factory=dict)
    commands: int = 0
    skills: Mapping[str, Tree] = field(default_factory=dict)
    """The files of each skill of the run, by name."""
    made: Mapping[str, MadeTool] = field(default_factory=dict)
    """The project's stored tools, by name."""
    heartbeat: Callable[[], float] | None = None
    """Called every `BEAT_S` seconds while a command runs. An exception from it ends the command."""
    on_output: Callable[[bytes], None] = lambda data: None
    """Gets what a command prints, as it comes."""

    def look(self, path: str, use: Use) -> AbstractContextManager[Spot]:
        """Open the file after checking both its given name and its real name."""
        return _open_judged(self, path, use)


@contextmanager
def _open_judged(box: Box, path: str, use: Use) -> Iterator[Spot]:
    box.judge.path(box.tree.name_of(path), use)
    with box.tree.at(path) as spot:
        box.judge.path(spot.name, use)
        yield spot


def text_arg(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return a text argument of a tool call. Raises Failed if it is missing or not text."""
    value = given.get(name, default)
    if not isinstance(value, str):
        raise Failed(f"the argument {name} must be a string")
    return value


def count_arg(given: Mapping[str, Any], name: str, default: int, most: int) -> int:
    """Return an argument that is a whole number of at least 1, limited to `most`."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Failed(f"the argument {name} must be a whole number of at least 1")
    return min(value, most)


def clip_middle(text: str, most: int, how: str) -> str:
    """Return the text; if it is too long, replace its middle with a note. `how`: how to see the missing
    part."""
    if len(text) <= most:
        return text
    head, tail = most * 2 // 3, most // 3
    left = len(text) - head - tail
    return f"{text[:head]}\n[... {left} characters left out; {how} ...]\n{text[len(text) - tail :]}"


def read_all(spot: Spot, most: int) -> tuple[bytes, int]:
    """Return at most `most` bytes of the file, and the file's size."""
    fd = spot.opened(os.O_RDONLY)
    with os.fdopen(fd, "rb") as file:
        return file.read(most), os.fstat(fd).st_size


MOST_READ = 10 << 20
MOST_LINES = 2_000
_NEAR = 3


def read(box: Box, given: Mapping[str, Any]) -> str:
    """Return a file or some of its lines; for a folder or a binary file only a note about its kind."""
    path = text_arg(given, "path")
    start, count = count_arg(given, "start", 1, 1 << 31), count_arg(given, "lines", MOST_LINES, MOST_LINES)
    with box.look(path, Use.READ) as spot:
        if spot.is_folder:
            raise Failed(f"{path} is a directory; use ls to list it")
        _must_be_file(spot, path)
        data, size = read_all(spot, MOST_READ)
    if b"\0" in data[:8192]:
        return f"[{path} is a binary file of {size} bytes; it is not shown]"
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    if start > max(len(lines), 1):
        raise Failed(f"{path} has {len(lines)} lines; start is beyond the end")
    part = lines[start - 1 : start - 1 + count]
    end = start - 1 + len(part)
    text = clip_middle("".join(part), box.most_chars, "read fewer lines: start, lines")
    whole = end == len(lines) and start == 1 and size <= MOST_READ
    more = f", of a file of {size} bytes of which the first {MOST_READ} were read" if size > MOST_READ else ""
    return text if whole else f"[lines {start} to {end} of {len(lines)}{more}]\n{text}"


def write(box: Box, given: Mapping[str, Any]) -> str:
    """Write a whole file, new or replacing an old one."""
    path, content = text_arg(given, "path"), text_arg(given, "content")
    data = content.encode("utf-8", "replace")
    try:
        with box.look(path, Use.WRITE) as spot:
            _must_be_file(spot, path)
            write_all(spot.opened(os.O_WRONLY | os.O_TRUNC), data)
            name, how = spot.name, "written"
    except NotFound:
        name, how = _create(box, path, data), "created"
    box.changed[name] = None
    return f"{name} was {how}: {len(data)} bytes, {content.count(chr(10))} lines"


def _create(box: Box, path: str, data: bytes) -> str:
    with box.tree.folder_for(path) as (spot, names):
        if not spot.is_folder:
            raise Failed(f"{spot.name} is not a directory, so {path} cannot be in it")
        name = "/".join((*(() if spot.name == "." else (spot.name,)), *names))
        box.judge.path(name, Use.WRITE)
        try:
            write_all(box.tree.create(spot, names), data)
        except FileExistsError as exc:
            raise Failed(f"{path} is a broken symlink") from exc
    return name


def edit(box: Box, given: Mapping[str, Any]) -> str:
    """Replace a text that occurs exactly once, or every occurrence if that is requested."""
    path, old, new = text_arg(given, "path"), text_arg(given, "old"), text_arg(given, "new")
    if not old or old == new:
        raise Failed("`old` must be a non-empty text of the file, and `new` must differ from it")
    with box.look(path, Use.WRITE) as spot:
        _must_be_file(spot, path)
        data, size = read_all(spot, MOST_READ)
        if size > MOST_READ:
            raise Failed(f"{path} is too large to be edited ({size} bytes)")
        text = data.decode("utf-8", "surrogateescape")
        if "\r\n" in text and "\r\n" not in old:
            old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
        found = text.count(old)
        if found == 0:
            raise Failed(f"old is not in {path}, letter by letter. {_find_nearest(text, old)}")
        if found > 1 and given.get("all") is not True:
            raise Failed(
                f"old occurs {found} times in {path}: include more lines around it, or set all: true"
            )
        write_all(
            spot.opened(os.O_WRONLY | os.O_TRUNC), text.replace(old, new).encode("utf-8", "surrogateescape")
        )
        box.changed[spot.name] = None
        return f"{spot.name} was edited: {found} place{'s' if found > 1 else ''}"


def _find_nearest(text: str, old: str) -> str:
    """Return the lines of the file that are most similar to the first line of the searched text."""
    wanted = next((line.strip() for line in old.splitlines() if line.strip()), "")
    lines = dict[str, int]()
    for number, line in enumerate(islice(text.splitlines(), 20_000), 1):
        lines.setdefault(line.strip()[:300], number)
    near = difflib.get_close_matches(wanted[:300], lines, _NEAR, 0.5)
    if not near:
        return "There is no similar line: read the file again."
    return "The most similar lines are: " + "; ".join(f"{lines[one]}: {one}" for one in near)


def _must_be_file(spot: Spot, path: str) -> None:
    if not spot.is_file:
        raise Failed(f"{path} is not a regular file")


MOST_SEEN, MOST_FOUND, MOST_HITS = 50_000, 1_000, 200
MOST_FILE, MOST_LINE = 2 << 20, 300
_SKIPPED = frozenset({".git"})


def ls(box: Box, given: Mapping[str, Any]) -> str:
    """List a folder: names, with `/` after a folder's name, and file sizes."""
    path = text_arg(given, "path", ".")
    with box.look(path, Use.READ) as spot:
        if not spot.is_folder:
            raise Failed(f"{path} is a file; use read to show it")
        at = spot.opened(os.O_RDONLY | os.O_DIRECTORY)
        try:
            lines = [
                _format_entry(box, at, spot.name, name) for name in sorted(os.listdir(at))[: MOST_FOUND + 1]
            ]
        finally:
            os.close(at)
    shown = [line for line in lines[:MOST_FOUND] if line]
    more = [f"[more than {MOST_FOUND} entries]"] if len(lines) > MOST_FOUND else []
    return clip_middle("\n".join([*shown, *more]) or "[empty]", box.most_chars, "list a subfolder")


def _format_entry(box: Box, at: int, folder: str, name: str) -> str:
    if box.judge.hides(posixpath.normpath(posixpath.join(folder, name))):
        return ""
    state = os.stat(name, dir_fd=at, follow_symlinks=False)
    if stat.S_ISDIR(state.st_mode):
        return f"{name}/"
    if stat.S_ISLNK(state.st_mode):
        return f"{name} -> {os.readlink(name, dir_fd=at)}"
    return f"{name}  {state.st_size}"


def find(box: Box, given: Mapping[str, Any]) -> str:
    """List files whose paths match a pattern."""
    pattern, path = text_arg(given, "pattern"), text_arg(given, "path", ".")
    if fault := pattern_fault(pattern):
        raise Failed(
            f"{pattern!r} is not a valid pattern: {fault}; valid ones are `*.py` and `src/**/test_*.py`"
        )
    hits: list[str] = []
    for name, at, _ in _walk_files(box, path):
        os.close(at)
        if is_covering(pattern, name):
            hits.append(name)
            if len(hits) >= MOST_FOUND:
                hits.append(f"[more than {MOST_FOUND}: use a narrower pattern or path]")
                break
    return clip_middle(
        "\n".join(hits) or f"no file matches {pattern}", box.most_chars, "use a narrower pattern"
    )


def grep(box: Box, given: Mapping[str, Any]) -> str:
    """Return the lines that match a regular expression, as `file:line: text`."""
    pattern, path = text_arg(given, "pattern"), text_arg(given, "path", ".")
    only = text_arg(given, "files", "")
    most = count_arg(given, "most", MOST_HITS, MOST_HITS)
    if fault := regex_fault(pattern):
        raise Failed(f"{pattern!r} is not a regular expression (RE2): {fault}")
    hits: list[str] = []
    for name, at, size in _walk_files(box, path):
        with os.fdopen(at, "rb") as file:
            if size > MOST_FILE or (only and not is_covering(only, name)):
                continue
            hits += _find_hits(name, file.read(MOST_FILE), pattern)
        if len(hits) >= most:
            hits = [
                *hits[:most],
                f"[the first {most} lines; there may be more: use a narrower pattern, path or files]",
            ]
            break
    return clip_middle(
        "\n".join(hits) or f"nothing fits {pattern}", box.most_chars, "narrow the pattern, path or files"
    )


def _find_hits(name: str, data: bytes, pattern: str) -> Iterator[str]:
    text = data.decode("utf-8", "replace")
    if "\0" in text[:8192]:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if has_match(pattern, line):
            yield f"{name}:{number}: {line[:MOST_LINE]}"


def _walk_files(box: Box, path: str) -> Iterator[tuple[str, int, int]]:
    """Yield (name from the top, descriptor that the caller closes, size) of each plain file at or below the
    path."""
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
                        yield from _open_plain_file(at, name, whole)
                if seen > MOST_SEEN:
                    return
        finally:
            os.close(top)


def _open_plain_file(at: int, name: str, whole: str) -> Iterator[tuple[str, int, int]]:
    """Yield the file as `_walk_files` does; nothing for a link, a pipe or an unreadable file."""
    with suppress(OSError):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        state = os.fstat(fd)
        if stat.S_ISREG(state.st_mode):
            yield whole, fd, state.st_size
        else:
            os.close(fd)
