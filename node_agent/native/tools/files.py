"""The tools read, write and edit: files of the checkout, one at a time."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

from node_agent.native.places import NotFound, Spot, write_all
from node_agent.native.tools.box import Box, Failed, clipped, count_arg, read_all, text_arg
from node_agent.policy.commands.programs import Use

MOST_READ = 10 << 20
MOST_LINES = 2_000
_NEAR = 3


def read(box: Box, given: Mapping[str, Any]) -> str:
    """A file, or some of its lines; a folder's and a binary file's kind only."""
    path = text_arg(given, "path")
    start, count = count_arg(given, "start", 1, 1 << 31), count_arg(given, "lines", MOST_LINES, MOST_LINES)
    with box.look(path, Use.READ) as spot:
        if spot.is_folder:
            raise Failed(f"{path} is a folder; ls shows what is in it")
        _must_be_file(spot, path)
        data, size = read_all(spot, MOST_READ)
    if b"\0" in data[:8192]:
        return f"[{path} is a binary file of {size} bytes; it is not shown]"
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    if start > max(len(lines), 1):
        raise Failed(f"{path} has {len(lines)} lines; start is beyond them")
    part = lines[start - 1 : start - 1 + count]
    end = start - 1 + len(part)
    text = clipped("".join(part), box.most_chars, "read fewer lines: start, lines")
    whole = end == len(lines) and start == 1 and size <= MOST_READ
    more = (
        f", of a file of {size} bytes of which the first {MOST_READ} were looked at"
        if size > MOST_READ
        else ""
    )
    return text if whole else f"[lines {start} to {end} of {len(lines)}{more}]\n{text}"


def write(box: Box, given: Mapping[str, Any]) -> str:
    """A whole file, new or in the place of one."""
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
            raise Failed(f"{spot.name} is no folder, so {path} cannot be in it")
        name = "/".join((*(() if spot.name == "." else (spot.name,)), *names))
        box.judge.path(name, Use.WRITE)
        try:
            write_all(box.tree.create(spot, names), data)
        except FileExistsError as exc:
            raise Failed(f"{path} is a link that leads nowhere") from exc
    return name


def edit(box: Box, given: Mapping[str, Any]) -> str:
    """Replace a text that is there exactly once, or everywhere if that is asked."""
    path, old, new = text_arg(given, "path"), text_arg(given, "old"), text_arg(given, "new")
    if not old or old == new:
        raise Failed("old must be a text of the file, and new another one")
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
            raise Failed(f"old is not in {path}, letter by letter. {_nearest(text, old)}")
        if found > 1 and given.get("all") is not True:
            raise Failed(f"old is {found} times in {path}: give more lines around it, or all: true")
        write_all(
            spot.opened(os.O_WRONLY | os.O_TRUNC), text.replace(old, new).encode("utf-8", "surrogateescape")
        )
        box.changed[spot.name] = None
        return f"{spot.name} was edited: {found} place{'s' if found > 1 else ''}"


def _nearest(text: str, old: str) -> str:
    """The lines of the file that are most like the first line of what was looked for."""
    wanted = next((line.strip() for line in old.splitlines() if line.strip()), "")
    lines = dict[str, int]()
    for number, line in enumerate(islice(text.splitlines(), 20_000), 1):
        lines.setdefault(line.strip()[:300], number)
    near = difflib.get_close_matches(wanted[:300], lines, _NEAR, 0.5)
    if not near:
        return "No line is like it: read the file again."
    return "The nearest lines are: " + "; ".join(f"{lines[one]}: {one}" for one in near)


def _must_be_file(spot: Spot, path: str) -> None:
    if not spot.is_file:
        raise Failed(f"{path} is no plain file")
