"""Decides which skills a run gets: those that its agent names, and those of its project."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from node_agent.wire.skill import MOST_PACKED, MOST_SKILLS, JobSkill, SkillPlace, pack_files
from pancode.kernel.errors import ConfigError, PancodeError, RefusedError
from pancode.kernel.formatting import format_bytes
from pancode.kernel.rows import NO_SKILLS, GivenSkills
from pancode.skills.library import KeptSkills
from pancode.skills.model import Skill
from pancode.skills.sources import PROJECT, PROJECT_FOLDERS, FoundSkill, find_skill, list_sources, skills_of

NOT_AGREED = "not_agreed"


def find_skills(home: Path, top: Path | None, names: tuple[str, ...]) -> GivenSkills:
    """Return the skills that a run gets: those with these names, and those of the project at `top`. Project
    folders that are links are not read."""
    places = []
    for one in list_sources(home, top):
        if one.origin != PROJECT or top is None:
            is_read = bool(names)
        else:
            is_read = one.folder.resolve() == top.resolve() / one.folder.relative_to(top)
        places += [one] if is_read else []
    found = skills_of(places)
    if not found and not names:
        return NO_SKILLS
    unagreed = KeptSkills(home).not_agreed(one.skill for one in found)
    return assign_skills(names, found, {one.name for one in unagreed})


def assign_skills(
    wanted: Sequence[str], found: Sequence[FoundSkill], unagreed: Collection[str]
) -> GivenSkills:
    """Return the named skills, and as many of the project's skills as fit.

    `unagreed`: unapproved skills that permit or run something. NotFoundError, RefusedError or ConfigError for
    a named skill that cannot be assigned; a project's skill that cannot be assigned is left out.
    """
    first, flags = [find_skill(found, name) for name in dict.fromkeys(wanted)], list[str]()
    others = [one for one in found if one.source.origin == PROJECT and one.skill.name not in wanted]
    ordered, left_out, room = list[JobSkill](), list[str](), MOST_PACKED
    for one in (*first, *others):
        name, text = one.skill.name, pack_files(_list_files(one.skill))
        refused: PancodeError | None = _why_not(one.skill, name in unagreed)
        if refused is None and (len(text) > room or len(ordered) == MOST_SKILLS):
            most = f"a run may have at most {MOST_SKILLS} skills, of {format_bytes(MOST_PACKED)} packed"
            refused = ConfigError(
                f"the skills are too large: no space for skill {name}", why=most, fix="use fewer skills"
            )
        if refused is None:
            room -= len(text)
            digest = one.skill.digest
            ordered.append(JobSkill(name=name, digest=digest, place=_place(one), packed=text))
        elif name in wanted:
            raise refused
        elif refused.code == NOT_AGREED:
            flags.append(name)
        else:
            left_out.append(f"{refused}: {refused.fix}")
    if flags:
        what = "skills of the project that permit or run something and are not approved"
        left_out.append(f"{what}: pancode skills agree {' '.join(flags)}")
    return GivenSkills(tuple(sorted(ordered, key=lambda one: one.name)), tuple(left_out))


def _why_not(skill: Skill, unagreed: bool) -> RefusedError | None:
    if not skill.is_sound:
        why = "; ".join(finding.what for finding in skill.findings if finding.error)
        fix = f"pancode config check --kind skills {skill.name}"
        return RefusedError(f"skill {skill.name} has errors", why=why, fix=fix, code="bad_skill")
    if unagreed:
        why, fix = "; ".join(power.what for power in skill.powers), f"pancode skills agree {skill.name}"
        what = f"skill {skill.name} permits or runs something, and is not approved"
        return RefusedError(what, why=why, fix=fix, code=NOT_AGREED)
    return None


def _list_files(skill: Skill) -> dict[str, tuple[bytes, bool]]:
    return {path: (file.data, file.executable) for path, file in skill.files.items()}


def _place(found: FoundSkill) -> SkillPlace:
    """Return the skill's folder in the repository; "" if the skill is not from the repository."""
    if found.source.origin != PROJECT:
        return ""
    return next(place for place in PROJECT_FOLDERS if found.source.folder.match(f"*/{place}"))
