"""Extracts the parts of a configuration file that affect a program, and compares them before and after a
change. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

Part = tuple[tuple[str, ...], object]
"""The keys that lead to a value, from the outermost key, and the value."""
_HEAD = re.compile(r"\[([^\]]+)\]")
_DIRECTIVE = re.compile(r"([a-z]+)\s*\(")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a file that affect a program: all of it, only some keys, or all except some keys.

    `file`: a pattern of paths. A key is a dotted path such as `tool.pytest`; `*` matches one step. In a file
    of sections (`.ini`, `.cfg`) a key is the name of a section, and includes sections whose names begin with
    it and `:` or `-`; in `go.mod` it is a directive.
    """

    file: str
    only: tuple[str, ...] = ()
    but: tuple[str, ...] = ()

    def differ(self, before: bytes | None, after: bytes | None) -> bool:
        """Whether a part that affects the program has changed. None: the file does not exist."""
        if not self.only and not self.but:
            return before != after
        try:
            return self._parse_parts(before or b"") != self._parse_parts(after or b"")
        except (ValueError, RecursionError):
            return before != after  # it is unknown how the program reads this content

    def text(self, content: bytes) -> str:
        """Return the parts that affect the program, as text to search for names; empty if unreadable."""
        if not self.only and not self.but:
            return content.decode("utf-8", "replace")
        try:
            return "\n".join(str(value) for _, value in self._parse_parts(content))
        except (ValueError, RecursionError):
            return ""

    def _parse_parts(self, content: bytes) -> list[Part]:
        """Return the relevant parts. ValueError for content that is not of the file's kind."""
        name, text = PurePosixPath(self.file).name, content.decode()
        if name.endswith(".toml"):
            every = values_in((), tomllib.loads(text))
        elif name.endswith(".json"):
            every = values_in((), json.loads(text.removeprefix("\ufeff") or "{}"))
        elif name.endswith((".txt", ".go")):
            every = marks_in(text)
        else:
            every = directives_in(text) if name == "go.mod" else sections_in(text)
        if self.only:
            return [one for one in every if any(_is_below(one[0], key) for key in self.only)]
        return [one for one in every if not any(_is_below(one[0], key) for key in self.but)]


def _is_below(keys: tuple[str, ...], key: str) -> bool:
    steps = key.split(".")
    if len(steps) == 1 and len(keys) == 1:  # a section or a directive
        return keys[0] == key or keys[0].startswith((f"{key}:", f"{key}-"))
    return len(keys) >= len(steps) and all(step in ("*", own) for step, own in zip(steps, keys, strict=False))


def values_in(keys: tuple[str, ...], value: object) -> Iterator[Part]:
    """Yield each value below these keys that is not a mapping itself."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from values_in((*keys, str(key)), one)
    elif keys:
        yield keys, value


def sections_in(text: str) -> Iterator[Part]:
    """Yield each line with its section. Programs differ in whether an indented `[head]` begins a section;
    here it begins one and also continues the previous section, so that a line counts for both."""
    at_edge, current = "", ""
    for line in _yield_lines(text, ("#", ";")):
        if head := _HEAD.match(line.strip()):
            current = head[1].strip()
            at_edge = current if line[0] == "[" else at_edge
        for name in dict.fromkeys((at_edge, current)):
            yield (name,), line.strip()


def directives_in(text: str) -> Iterator[Part]:
    """Yield each line of a `go.mod` with its directive."""
    block = ""
    for line in _yield_lines(text, ("//",)):
        if opened := _DIRECTIVE.match(line.strip()):
            block = opened[1]
        words = line.split()
        yield (block or words[0],), " ".join(words)
        block = "" if words[0] == ")" else block


def marks_in(text: str) -> Iterator[Part]:
    """Yield the options in a list of dependencies (`option`), and commands of `go generate` (`generate`)."""
    for line in text.splitlines():
        if line.startswith("//go:generate"):
            yield ("generate",), line
        elif line.lstrip().startswith("-"):
            yield ("option",), line.split("#")[0].strip()


def _yield_lines(text: str, comments: tuple[str, ...]) -> Iterable[str]:
    return (line for line in text.splitlines() if line.strip() and not line.strip().startswith(comments))


def readable_as(rows: Mapping[str, Sequence[str | Parts]]) -> dict[str, tuple[Parts, ...]]:
    """Return the rows; each bare file name is replaced by a `Parts` for the whole file."""
    return {
        program: tuple(Parts(one) if isinstance(one, str) else one for one in row)
        for program, row in rows.items()
    }
