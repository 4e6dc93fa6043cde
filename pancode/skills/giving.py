"""Decides which skills a run is given: those that its agent names, and those of its project."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from node_agent.wire.skill import MOST_PACKED, MOST_SKILLS, OrderedSkill, SkillPlace, packed
from pancode.core.terms import GivenSkills
from pancode.errors import ConfigError, PancodeError, RefusedError
from pancode.plain import size
from pancode.skills.skill import Skill
from pancode.skills.sources import PROJECT, PROJECT_FOLDERS, FoundSkill, named


def given(wanted: Sequence[str], found: Sequence[FoundSkill], unagreed: Collection[str]) -> GivenSkills:
    """All of these, then of the project as many as there is room for.

    `unagreed`: names of what permits or runs something, and nobody has said yes. NotFoundError, RefusedError
    or ConfigError for one that is named and cannot be given; one of the project is left out then.
    """
    first = [named(found, name) for name in dict.fromkeys(wanted)]
    others = [one for one in found if one.source.origin == PROJECT and one.skill.name not in wanted]
    ordered, left_out, room = list[OrderedSkill](), list[str](), MOST_PACKED
    for one in (*first, *others):
        name, is_named = one.skill.name, one in first
        refused: PancodeError | None = _why_not(one.skill, name in unagreed)
        if refused is not None and is_named:
            raise refused
        text = "" if refused is not None else packed(_files(one.skill))
        if refused is None and (len(text) > room or len(ordered) == MOST_SKILLS):
            most = f"the skills of a run may take {size(MOST_PACKED)}, packed, and be {MOST_SKILLS}"
            refused = ConfigError(f"there is no room for the skill {name}", why=most, fix="name fewer skills")
            if is_named:
                raise refused
        if refused is not None:
            left_out.append(f"{refused}: {refused.fix}")
            continue
        room -= len(text)
        digest = one.skill.digest
        ordered.append(OrderedSkill(name=name, digest=digest, place=_place(one), packed=text))
    return GivenSkills(tuple(sorted(ordered, key=lambda one: one.name)), tuple(left_out))


def _why_not(skill: Skill, unagreed: bool) -> RefusedError | None:
    if not skill.is_sound:
        why = "; ".join(finding.what for finding in skill.findings if finding.error)
        fix = f"pancode skills check {skill.name}"
        return RefusedError(f"the skill {skill.name} has errors", why=why, fix=fix, code="bad_skill")
    if unagreed:
        why, fix = "; ".join(power.what for power in skill.powers), f"pancode skills agree {skill.name}"
        what = f"the skill {skill.name} permits or runs something, and nobody has said yes to it"
        return RefusedError(what, why=why, fix=fix, code="not_agreed")
    return None


def _files(skill: Skill) -> dict[str, tuple[bytes, bool]]:
    return {path: (file.data, file.executable) for path, file in skill.files.items()}


def _place(found: FoundSkill) -> SkillPlace:
    """Where in the repository it lies."""
    if found.source.origin != PROJECT:
        return ""
    return next(place for place in PROJECT_FOLDERS if found.source.folder.match(f"*/{place}"))
