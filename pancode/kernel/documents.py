"""Parses a YAML file into plain values, with the line of each key. Never writes files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pancode.kernel.errors import ConfigError

MOST_BYTES = 1_000_000
MOST_VALUES = 20_000
_NO_VALUE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""The errors that PyYAML raises for a date or number that is not valid, such as 2026-13-45."""
_QUOTES = "put it in quotes if it is text"


@dataclass(frozen=True, slots=True)
class Document:
    """One file's content. `lines`: the line number of each key, by its dotted path, counted from 1."""

    place: str
    data: dict[str, object] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def at(self, path: str) -> str:
        """Return `file:line` of the key at this path, or of the nearest key above it."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return f"{self.place}:{self.lines[path]}" if path else self.place


def read_document(path: Path) -> Document | None:
    """Read the file; None if it does not exist. Raises ConfigError with file:line if the file cannot be read
    or parsed, and for a link to a missing file."""
    try:
        raw = bytes_of(path, MOST_BYTES)
    except FileNotFoundError as exc:
        if not path.is_symlink():
            return None
        # The link shows that settings were meant to apply, so it is an error and not a missing file.
        raise ConfigError(
            f"{path} is a link to a missing file",
            why=f"the link points to {os.readlink(path)}",
            fix=f"restore the missing file, or remove the link: rm {path}",
        ) from exc
    except OSError as exc:
        raise ConfigError(f"cannot read {path}", why=str(exc), fix=f"ls -l {path}") from exc
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path} is too large", why=f"the limit is {MOST_BYTES} bytes")
    try:
        return parse_document(raw.decode(), str(path))
    except UnicodeDecodeError as exc:
        line = raw[: exc.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8", why=str(exc), fix="save it as UTF-8") from exc


def bytes_of(path: Path, most: int) -> bytes:
    """Read at most `most` + 1 bytes, because a file may be a link to an endless device or pipe."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read(most + 1)


def parse_document(text: str, place: str, list_key: str = "") -> Document:
    """Parse a text whose top level is a mapping or empty. Raises ConfigError with `place`:line for other
    text. `list_key`: a list at the top level becomes the value of this key."""
    try:
        return _parse(text, place, list_key)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(
            f"{place}:{line}: not valid YAML", why=str(exc.problem), fix=_look(place, line)
        ) from exc
    except yaml.YAMLError as exc:
        # raised for a character that YAML does not allow
        line = text[: getattr(exc, "position", 0)].count("\n") + 1
        raise ConfigError(f"{place}:{line}: not valid YAML", why=str(exc), fix=_look(place, line)) from exc
    except RecursionError:
        raise ConfigError(f"{place}:1: nested too deeply", fix=_look(place, 1)) from None


def _parse(text: str, place: str, list_key: str) -> Document:
    loader = yaml.SafeLoader(text)
    try:
        top = loader.get_single_node()
        if top is None or top.tag == "tag:yaml.org,2002:null":
            return Document(place)
        reader = _Reader(loader, place)
        if list_key and isinstance(top, yaml.SequenceNode):
            return Document(place, {list_key: reader.value(top, list_key)}, reader.lines)
        if not isinstance(top, yaml.MappingNode):
            raise _make_error(
                place, top, "the file must contain keys and values", "write it as `key: value` lines"
            )
        return Document(place, reader.mapping(top, ""), reader.lines)
    finally:
        loader.dispose()


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, place: str) -> None:
        self.lines: dict[str, int] = {}
        self._loader = loader
        self._place = place
        self._values = 0

    def mapping(self, node: yaml.MappingNode, path: str) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in self._list_pairs(node):
            below = f"{path}.{key.value}" if path else str(key.value)
            if key.value in found:
                raise _make_error(self._place, key, f"{below} appears twice", "keep one of them")
            self.lines[below] = key.start_mark.line + 1
            found[str(key.value)] = self.value(value, below)
        return found

    def _list_pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _make_error(self._place, key, "a key must be a string", "write it as `key: value`")
            yield key, value

    def value(self, node: yaml.Node, path: str) -> object:
        self._values += 1
        if self._values > MOST_VALUES:
            raise _make_error(
                self._place, node, f"the file has more than {MOST_VALUES} values", "remove some values"
            )
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._read_item(item, f"{path}.{number}") for number, item in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except _NO_VALUE as exc:
            raise _make_error(
                self._place, node, f"{path}: the value {node.value!r} cannot be read", _QUOTES
            ) from exc

    def _read_item(self, node: yaml.Node, path: str) -> object:
        self.lines[path] = node.start_mark.line + 1
        return self.value(node, path)


def _make_error(place: str, node: yaml.Node, what: str, fix: str) -> ConfigError:
    return ConfigError(f"{place}:{node.start_mark.line + 1}: {what}", fix=fix)


def _look(place: str, line: int) -> str:
    return f"check line {line} of {place}: indent with spaces, and quote text that contains : or #"
