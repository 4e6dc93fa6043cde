"""Finds skills of the project, the user's home and PanCode itself, and decides which one applies."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pancode.kernel.errors import ConfigError
from pancode.kernel.formatting import format_bytes
from pancode.kernel.names import not_found
from pancode.skills.copies import IGNORED
from pancode.skills.model import (
    FILE,
    MOST_BYTES,
    MOST_FILES,
    MOST_TEXT,
    Skill,
    SkillFile,
    SkillFinding,
    made_of,
    make_error,
)

if TYPE_CHECKING:
    from node_agent.wire.skill import SkillPlace

PROJECT_FOLDERS: tuple[SkillPlace, ...] = (".pancode/skills", ".agents/skills", ".claude/skills")
MOST_DEEP = 8
PROJECT, HOME, SHIPPED = "project", "home", "shipped"


@dataclass(frozen=True, slots=True)
class SkillSource:
    """A folder of skills. `origin`: `project`, `home` or `shipped`."""

    origin: str
    folder: Path


@dataclass(frozen=True, slots=True)
class FoundSkill:
    """A skill and its source. `shadows`: the sources whose skills of the same name it overrides."""

    skill: Skill
    source: SkillSource
    shadows: tuple[SkillSource, ...] = ()

    @property
    def folder(self) -> Path:
        return self.source.folder / self.skill.name

    def shape(self) -> dict[str, Any]:
        """Return the skill for JSON, without its text."""
        return {
            "name": self.skill.name,
            "description": self.skill.description,
            "origin": self.source.origin,
            "folder": str(self.folder),
            "shadows": [{"origin": s.origin, "folder": str(s.folder)} for s in self.shadows],
            "digest": self.skill.digest,
            "files": sorted(self.skill.files),
            "scripts": self.skill.scripts,
            "findings": [finding.shape() for finding in self.skill.findings],
        }


def list_sources(home: Path, project: Path | None) -> list[SkillSource]:
    """Return all sources, by precedence. `home`: PANCODE_HOME. `project`: the top of a repository."""
    near = [] if project is None else [SkillSource(PROJECT, project / name) for name in PROJECT_FOLDERS]
    shipped = SkillSource(SHIPPED, Path(__file__).with_name("shipped"))
    return [*near, SkillSource(HOME, home / "skills"), shipped]


def skills_of(places: Sequence[SkillSource]) -> list[FoundSkill]:
    """Return these sources' skills, one per name, each from the first source that has it. ConfigError."""
    return choose_skills(FoundSkill(skill, place) for place in places for skill in _skills_in(place.folder))


def choose_skills(found: Iterable[FoundSkill]) -> list[FoundSkill]:
    """Return the first skill of each name, with the sources of the others."""
    first: dict[str, FoundSkill] = {}
    for one in found:
        before = first.get(one.skill.name)
        if before is not None:
            one = FoundSkill(before.skill, before.source, (*before.shadows, one.source))
        first[one.skill.name] = one
    return [first[name] for name in sorted(first)]


def find_skill(found: Sequence[FoundSkill], name: str) -> FoundSkill:
    """Return the skill of this name. NotFoundError."""
    for one in found:
        if one.skill.name == name:
            return one
    raise not_found("skill", name, [one.skill.name for one in found], "pancode skills ls")


def _skills_in(folder: Path) -> Iterator[Skill]:
    """Yield the skills in the subfolders with a SKILL.md; a link yields a skill with an error finding."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise ConfigError(f"cannot read {folder}", why=str(exc), fix=f"ls -ld {folder}") from exc
    for entry in entries:
        if entry.name.startswith(".") or entry.name in IGNORED:
            continue
        if entry.is_symlink():
            yield made_of(entry.name, {}, (make_error("link", "it is a link, which is not followed"),))
        elif entry.is_dir(follow_symlinks=False):
            yield read_skill(Path(entry.path))


def read_skill(folder: Path, name: str = "") -> Skill:
    """Return a folder's skill with all its findings. `name`: its name, if not the folder's. ConfigError."""
    files: dict[str, SkillFile] = {}
    findings: list[SkillFinding] = []
    room = MOST_BYTES
    try:
        for path, entry in _walk_entries(folder):
            if len(files) >= MOST_FILES:
                findings.append(make_error("too_many_files", f"it has more than {MOST_FILES} files"))
                break
            if entry.is_symlink():
                findings.append(make_error("link", f"{path} is a link, which is not followed"))
                continue
            about = entry.stat(follow_symlinks=False)
            most = min(room, MOST_TEXT) if path == FILE else room
            if not stat.S_ISREG(about.st_mode):
                deep = stat.S_ISDIR(about.st_mode)
                what = "is nested too deeply" if deep else "is neither a file nor a directory"
                findings.append(make_error("no_file", f"{path} {what}"))
            elif about.st_size > most:
                what = (
                    f"{path} has {format_bytes(about.st_size)}; at most {format_bytes(most)} are allowed here"
                )
                findings.append(make_error("too_big", what))
            else:
                with open(entry.path, "rb") as reader:
                    data = reader.read(most)
                room -= len(data)
                files[path] = SkillFile(data, bool(about.st_mode & stat.S_IXUSR))
    except OSError as exc:
        raise ConfigError(f"cannot read the skill in {folder}", why=str(exc), fix=f"ls -lR {folder}") from exc
    return made_of(name or folder.name, files, tuple(findings))


def _walk_entries(folder: Path, before: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in IGNORED:
            continue
        path = before + os.fsencode(entry.name).decode("utf-8", "replace")
        if entry.is_dir(follow_symlinks=False) and before.count("/") < MOST_DEEP:
            yield from _walk_entries(Path(entry.path), f"{path}/")
        else:
            yield path, entry
