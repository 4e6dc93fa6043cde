"""Builds the requests for `copies.act` and summarizes its answers, which have one row per copy."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pancode.kernel.names import not_found
from pancode.skills.copies import mark_of
from pancode.skills.definitions import SUFFIX, find_folders, list_wanted
from pancode.skills.model import Skill
from pancode.skills.sources import FoundSkill

TOOLS: dict[str, str] = {
    "claude": ".claude/skills",
    "codex": ".agents/skills",
    "gemini": ".agents/skills",
    "opencode": ".agents/skills",
    "copilot": ".agents/skills",
    "qwen": ".agents/skills",
    "cursor": ".agents/skills",
    "antigravity": ".gemini/antigravity/skills",
}
"""The folder below the home where each program looks for skills; OpenCode also reads .claude/skills."""
KEYS: dict[str, str] = {
    ".claude/skills": "claude",
    ".agents/skills": "agents",
    ".gemini/antigravity/skills": "antigravity",
}
"""The name of each folder in the manifest and in backups."""


def find_skill_folders(tools: Sequence[str]) -> dict[str, str]:
    """Return the skill folders by name for these programs, or for all if `tools` is empty. NotFoundError."""
    for tool in tools:
        if tool not in TOOLS:
            raise not_found("tool", tool, list(TOOLS), f"one of: {', '.join(TOOLS)}")
    return {KEYS[TOOLS[tool]]: TOOLS[tool] for tool in tools or TOOLS}


def list_readers(key: str) -> list[str]:
    """Return the programs that read this folder."""
    return [tool for tool, folder in TOOLS.items() if KEYS[folder] == key]


Json = dict[str, Any]
LEFT: dict[str, str] = {
    "changed": "changed by a user, so kept; to overwrite it after a backup: --force",
    "unknown": "not ours, so kept; to overwrite it after a backup: --force",
    "link": "a link is in the way, and links are not followed; remove it first",
}
"""The reason why a copy was left alone, by its state."""


@dataclass(frozen=True, slots=True)
class SkillsAsked:
    """A request about copies of skills. Empty tools or names mean all.

    `found`: the wanted skills, for status and sync. `owner`: the fleet that owns these copies; None: this
    computer's user.
    """

    act: str
    tools: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    force: bool = False
    time: str = ""
    owner: str | None = None
    found: tuple[FoundSkill, ...] = ()
    files: tuple[Skill, ...] = ()
    """Slash commands and agent definitions; ignored if skills are named."""

    def request(self, need: Sequence[str] = ()) -> Json:
        """Return the `copies.act` request, without invalid skills. `need`: hashes of the bytes to include."""
        sound = [one.skill for one in self.found if one.skill.is_sound]
        definitions = [one for one in self.files if one.is_sound]
        every = [file for one in (*sound, *definitions) for file in one.files.values()] if need else []
        data = {mark_of(file.data, file.executable)[0]: file.data for file in every}
        return {
            "act": self.act,
            "folders": {**find_skill_folders(self.tools), **({} if self.names else find_folders(self.tools))},
            "files": {} if self.names else list_wanted(definitions, self.tools),
            "skills": {skill.name: skill.marks for skill in sound},
            "held": [
                *(one.skill.name for one in self.found if not one.skill.is_sound),
                *(f"{one.name.partition('/')[2]}{SUFFIX}" for one in self.files if not one.is_sound),
            ],
            "names": list(self.names),
            "force": self.force,
            "time": self.time,
            "owner": self.owner,
            "blobs": {one: base64.b64encode(data[one]).decode() for one in need if one in data},
        }


def count_copies(rows: Sequence[Mapping[str, Any]], tools: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Return one node's number of copies, by program and state."""
    counts = {
        key: Counter(row["state"] for row in rows if row["folder"] == key)
        for key in find_skill_folders(tools)
    }
    shown = {tool: counts[key] for key in counts for tool in list_readers(key)}
    return {tool: dict(shown[tool]) for tool in tools or TOOLS}
