"""Values that all tools share: the checkout, the judge, the limit of text, the changes so far."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from node_agent.native.judge import Judge
from node_agent.native.places import Spot, Tree
from node_agent.policy.commands.programs import Use
from node_agent.wire.clock import Clock


class Failed(Exception):
    """The tool did not do it; the text is for the model, and says what to do instead."""


@dataclass
class Box:
    """The tools of one run. `env`: for commands; `most_chars`: of one tool's answer; `changed`: by file
    tools."""

    tree: Tree
    judge: Judge
    clock: Clock
    env: Mapping[str, str]
    most_chars: int
    changed: dict[str, None] = field(default_factory=dict)
    commands: int = 0

    def look(self, path: str, use: Use) -> AbstractContextManager[Spot]:
        """The file, judged by its given name and by its real one."""
        return _judged(self, path, use)


@contextmanager
def _judged(box: Box, path: str, use: Use) -> Iterator[Spot]:
    box.judge.path(box.tree.name_of(path), use)
    with box.tree.at(path) as spot:
        box.judge.path(spot.name, use)
        yield spot


def text_arg(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Failed where it is missing, or no text."""
    value = given.get(name, default)
    if not isinstance(value, str):
        raise Failed(f"the argument {name} must be a text")
    return value


def count_arg(given: Mapping[str, Any], name: str, default: int, most: int) -> int:
    """A whole number of at least 1, at most `most`."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Failed(f"the argument {name} must be a whole number from 1 on")
    return min(value, most)


def clipped(text: str, most: int, how: str) -> str:
    """Beginning and end of a text that is too long; the note between them says what is missing.

    `how`: what to do to see it.
    """
    if len(text) <= most:
        return text
    head, tail = most * 2 // 3, most // 3
    left = len(text) - head - tail
    return f"{text[:head]}\n[... {left} characters left out; {how} ...]\n{text[len(text) - tail :]}"


def read_all(spot: Spot, most: int) -> tuple[bytes, int]:
    """(at most so many bytes, the file's size)."""
    fd = spot.opened(os.O_RDONLY)
    with os.fdopen(fd, "rb") as file:
        return file.read(most), os.fstat(fd).st_size
