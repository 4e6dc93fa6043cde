"""Problems of a workflow file, each with file, line, key and fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel

from pancode.config.documents import Document
from pancode.config.layers import problems
from pancode.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


class FileProblems:
    """Collects the problems of one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.found: list[ConfigError] = []

    def add(self, key: str, what: str, why: str = "", fix: str = "") -> None:
        error = ConfigError(f"{self.at(key)}: {what}", why=why, fix=fix, details={"key": key})
        self.found.append(error)

    def read(self, kind: type[M], data: Mapping[str, object]) -> M | None:
        """The value, or None and a problem for each thing that does not fit."""
        value, wrong = problems(kind, data, self.at)
        self.found += wrong
        return value

    def at(self, key: str) -> str:
        """`file:line` of the key, however its last word is joined, or of the nearest one above it."""
        above, dot, word = key.rpartition(".")
        joined = f"{above}{dot}{word.replace('-', '_')}"
        place = self._document.at(joined if joined in self._document.lines else key)
        return place if place != self._document.place else f"{place}:1"
