"""Finds workflow files: by path, in the project, in the user's home, and among the shipped ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pancode.git.repository import find_top
from pancode.kernel.documents import bytes_of
from pancode.kernel.errors import ConfigError, NotFoundError
from pancode.kernel.names import not_found
from pancode.workflows.files.source import MOST_BYTES

PROJECT_FOLDER = Path(".pancode/workflows")
HOME_FOLDER = Path("workflows")
SHIPPED, PROJECT = "shipped", "project"
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class WorkflowText:
    """The text of a workflow file and its place. `origin`: `file`, `project`, `home` or `shipped`."""

    name: str
    place: str
    origin: str
    text: str
    in_project: bool = False
    """Whether the file is in a repository, where a landed change may have modified it."""

    @property
    def replaces(self) -> str:
        """Return the name of the shipped workflow that this file replaces; empty if it replaces none."""
        taken = self.in_project and self.origin == PROJECT and self.name in shipped_names()
        return self.name if taken else ""

    def told(self) -> dict[str, Any]:
        """Return a request's facts on the file; the coordinator decides by them whether to ask a user."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        file = {"place": self.place, "digest": digest, "replaces": self.replaces}
        return {"file": file} if self.in_project else {}


@dataclass(frozen=True, slots=True)
class WorkflowPlaces:
    """The folders to look up workflows by name. `project`: a repository's top, or the current folder."""

    home: Path
    project: Path

    @classmethod
    def seen_from(cls, home: Path, cwd: str) -> Self:
        """Return the places as they apply to a user in this folder."""
        return cls(home, Path(find_top(cwd) or cwd))

    def find(self, word: str) -> WorkflowText:
        """Return the workflow with this path or name. NotFoundError with the nearest name; ConfigError."""
        path = Path(word)
        if "/" in word or path.suffix in (*_SUFFIXES, ".jsonl", ".ndjson", ".txt"):
            return self._mark_origin(_read(path, path.stem, "file"))
        for name, place, origin in self._find_files():
            if name == word:
                return self._mark_origin(_read(place, name, origin))
        if word in shipped_names():
            return read_shipped(word)
        if path.is_file():
            return self._mark_origin(_read(path, path.stem, "file"))
        names = [*(name for name, _, _ in self._find_files()), *shipped_names()]
        raise not_found("workflow", word, names, "pancode workflow ls --files")

    def all(self) -> Iterator[WorkflowText]:
        """Yield one file for each name: the project's overrides the home's, which overrides a shipped one."""
        seen: set[str] = set()
        for name, place, origin in self._find_files():
            if name not in seen:
                seen.add(name)
                yield self._mark_origin(_read(place, name, origin))
        yield from (read_shipped(name) for name in shipped_names() if name not in seen)

    def _mark_origin(self, found: WorkflowText) -> WorkflowText:
        """Mark the file if it is in a repository and not in the user's home."""
        ways = {Path(os.path.abspath(found.place)), Path(found.place).resolve()}
        mine = all(way.is_relative_to(self.home.resolve()) or way.is_relative_to(self.home) for way in ways)
        inside = found.origin == PROJECT or any((up / ".git").exists() for way in ways for up in way.parents)
        return replace(found, in_project=inside and not mine)

    def _find_files(self) -> Iterator[tuple[str, Path, str]]:
        for folder, origin in ((self.project / PROJECT_FOLDER, PROJECT), (self.home / HOME_FOLDER, "home")):
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                continue
            for name in names:
                if name.endswith(_SUFFIXES):
                    yield Path(name).stem, folder / name, origin


def shipped_names() -> list[str]:
    folder = resources.files("pancode.workflows.files").joinpath(SHIPPED)
    return sorted(Path(file.name).stem for file in folder.iterdir() if file.name.endswith(".yaml"))


def read_shipped(name: str) -> WorkflowText:
    """Return the text of a shipped workflow, with its comments."""
    file = resources.files("pancode.workflows.files").joinpath(SHIPPED, f"{name}.yaml")
    return WorkflowText(name, f"{name}.yaml (shipped)", SHIPPED, file.read_text(encoding="utf-8"))


def _read(path: Path, name: str, origin: str) -> WorkflowText:
    try:
        raw = bytes_of(path, MOST_BYTES)
    except FileNotFoundError as exc:
        fix = "to list the named ones: pancode workflow ls --files"
        raise NotFoundError(f"file {path} not found", why=str(exc), fix=fix) from exc
    except (OSError, ValueError) as exc:  # ValueError means that the name contains a NUL.
        raise ConfigError(f"cannot read {path}", why=str(exc), fix=f"ls -l {path}") from exc
    return WorkflowText(name, str(path), origin, decode_text(raw, str(path)))


def decode_text(raw: bytes, place: str) -> str:
    """Return the text; ConfigError if it is too long or not UTF-8."""
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{place}:1: too large", why=f"the limit is {MOST_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        line = raw[: exc.start].count(b"\n") + 1
        raise ConfigError(f"{place}:{line}: not UTF-8", why=str(exc), fix="save the file as UTF-8") from exc
