"""Manages the skills in the user's home: adds them from a folder or a commit, and removes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from pancode.kernel.errors import ConfigError, ConflictError, NotFoundError, RefusedError
from pancode.kernel.host.agreements import add_agreements, read_agreements
from pancode.kernel.host.files import make_private, write_durable
from pancode.skills.model import FILE, Skill
from pancode.skills.sources import SHIPPED, FoundSkill, read_skill

ORIGINS, AGREED = "origins.json", "agreed.json"


class KeptSkills:
    """The folder `skills` of PANCODE_HOME, with the file that records each skill's origin."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "skills"

    def origins(self) -> dict[str, dict[str, str]]:
        """Return skills' origins by name: `from`, `commit` (of a git address) and `digest`. ConfigError."""
        file = self.folder / ORIGINS
        try:
            read = json.loads(file.read_text())
            return {str(name): {str(k): str(v) for k, v in one.items()} for name, one in read.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as exc:
            raise ConfigError(f"cannot read {file}", why=str(exc), fix=f"mv {file} {file}.old") from exc

    def not_agreed(self, skills: Iterable[Skill]) -> list[Skill]:
        """Return skills that permit or run something and whose current content is unapproved. ConfigError."""
        known = read_agreements(self.folder / AGREED)
        return [one for one in skills if one.powers and known.get(one.name) != one.digest]

    def agree(self, skills: Iterable[Skill]) -> None:
        """Record that a user approved the current content of these skills. ConfigError."""
        new = {one.name: one.digest for one in skills if one.powers}
        if new:
            add_agreements(self.folder / AGREED, new)

    def add(self, skill: Skill, origin: Mapping[str, str], *, force: bool) -> bool:
        """Add a skill completely or not at all; return False if the same one already exists. RefusedError if
        the skill is invalid; ConflictError if another one has its name, unless `force`."""
        if not skill.is_sound:
            why = "; ".join(finding.what for finding in skill.findings if finding.error)
            fix = "repair it, then check: pancode config check --kind skills FOLDER"
            raise RefusedError(f"skill {skill.name} has errors", why=why, fix=fix, code="bad_skill")
        place, origins = self.folder / skill.name, self.origins()
        if place.is_symlink():
            raise ConflictError(f"{place} is a link", fix=f"move it away: mv {place} {place}.old")
        old = self.folder / f".{skill.name}.old"
        if old.is_dir() and not place.exists():  # A process was killed between the two renames in `_write`.
            old.rename(place)
        if place.exists():
            there = read_skill(place)
            if there.digest == skill.digest:
                return False
            before = origins.get(skill.name, {})
            ours = before.get("digest") == there.digest and before.get("from") == origin["from"]
            if not (ours or force):
                why = (
                    f"it is {'changed since it was added' if before else 'your own'}, or comes from elsewhere"
                )
                fix = f"compare: diff -r {place} FOLDER; to replace it: pancode skills add --force"
                raise ConflictError(
                    f"a different skill {skill.name} already exists in your home", why=why, fix=fix
                )
        try:
            self._write(place, skill)
            origins[skill.name] = {**origin, "digest": skill.digest}
            write_durable(self.folder / ORIGINS, json.dumps(origins, indent=1, sort_keys=True).encode())
        except OSError as exc:
            raise ConfigError(f"cannot write {place}", why=str(exc), fix=f"ls -ld {place}") from exc
        return True

    def _write(self, place: Path, skill: Skill) -> None:
        make_private(self.folder)  # This also creates the home if it does not exist.
        new, old = (self.folder / f".{skill.name}.{word}" for word in ("new", "old"))
        for one in (new, old):
            shutil.rmtree(one, ignore_errors=True)
        for path, file in skill.files.items():
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
            target.chmod(0o755 if file.executable else 0o644)
        if place.exists():
            place.rename(old)
        new.rename(place)
        shutil.rmtree(old, ignore_errors=True)

    def must_have(self, found: FoundSkill) -> None:
        """Raise NotFoundError if the found skill is not in the home."""
        name = found.skill.name
        if found.source.folder != self.folder:
            fix = f"pancode skills rm --copies {name}" if found.source.origin == SHIPPED else "git rm"
            what = f"skill {name} is not in your home: it comes from {found.source.folder}"
            raise NotFoundError(what, fix=fix, code="not_in_home")

    def remove(self, found: FoundSkill) -> None:
        """Remove the skill from the home. NotFoundError if it is not in the home."""
        self.must_have(found)
        name = found.skill.name
        place = self.folder / name
        try:
            if place.is_symlink():
                place.unlink()
            else:
                old = self.folder / f".{name}.old"
                shutil.rmtree(old, ignore_errors=True)
                place.rename(old)
                shutil.rmtree(old)
            origins = self.origins()
            if origins.pop(name, None) is not None:
                write_durable(self.folder / ORIGINS, json.dumps(origins, indent=1, sort_keys=True).encode())
        except OSError as exc:
            raise ConfigError(f"cannot remove {place}", why=str(exc), fix=f"ls -ld {place}") from exc


def skills_below(folder: Path, name: str = "") -> list[Skill]:
    """Return the skill in this folder, or the skills directly below it or below its `skills`. NotFoundError.
    `name`: the skill's name, if it differs from the folder's."""
    if (folder / FILE).is_file():
        return [read_skill(folder, name)]
    tops = [folder, *([] if (folder / "skills").is_symlink() else [folder / "skills"])]
    inside = [one for top in tops if top.is_dir() for one in sorted(top.iterdir())]
    found = [one for one in inside if not one.is_symlink() and (one / FILE).is_file()]
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is not a directory", fix="give a directory with a SKILL.md")
    if not found:
        raise NotFoundError(f"{FILE} not found in {folder} or below it", fix=f"ls {folder}")
    return [read_skill(one) for one in found]
