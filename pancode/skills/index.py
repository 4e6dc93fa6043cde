"""An index of skills: a file that lists other people's skills, each at a fixed commit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from pancode.kernel.errors import ConfigError, describe_cause
from pancode.kernel.formatting import clip_columns, reveal_invisible
from pancode.skills.model import is_name

FILE = "skills.yaml"
MOST_TEXT, MOST_ENTRIES = 4 << 20, 20_000
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class IndexedSkill:
    """A skill in an index. Its texts are untrusted, so hidden characters are replaced by their names."""

    name: str
    description: str
    address: str
    commit: str
    path: str

    @property
    def add(self) -> list[str]:
        """Return the arguments of the `pancode skills` command that adds this skill."""
        where = ["--path", self.path] if self.path else []
        return ["pancode", "skills", "add", self.address, "--commit", self.commit, *where]

    def shape(self) -> dict[str, Any]:
        about = {"name": self.name, "description": self.description, "from": self.address}
        return {**about, "commit": self.commit, "path": self.path, "add": self.add}


def read_index(text: str, where: str) -> tuple[tuple[IndexedSkill, ...], int]:
    """Return an index's skills and the number of its invalid entries. ConfigError if it is not an index."""
    try:
        read = yaml.safe_load(text[:MOST_TEXT])
        entries = read["skills"]
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError) as exc:
        why = clip_columns(" ".join(describe_cause(exc).split()), 200)
        fix = "an index is YAML or JSON: skills: [{name, description, from, commit, path}]"
        raise ConfigError(f"{where} is not a skill index", why=why, fix=fix, code="bad_index") from exc
    if not isinstance(entries, list):
        raise ConfigError(f"{where} is not a skill index", why="`skills` must be a list", code="bad_index")
    made = [_parse_entry(one) for one in entries[:MOST_ENTRIES]]
    found = tuple(one for one in made if one is not None)
    return found, len(entries) - len(found)


def _parse_entry(raw: object) -> IndexedSkill | None:
    if not isinstance(raw, dict):
        return None
    texts = [raw.get(key, "") for key in ("name", "description", "from", "commit", "path")]
    if not all(isinstance(one, str) for one in texts):
        return None
    name, description, address, commit, path = (reveal_invisible(" ".join(one.split())) for one in texts)
    is_sound = is_name(name) and _COMMIT.fullmatch(commit) and address and not address.startswith("-")
    return IndexedSkill(name, clip_columns(description, 1024), address, commit, path) if is_sound else None


def find_matching(entries: Iterable[IndexedSkill], words: str) -> list[IndexedSkill]:
    """Return entries, by name, where each of `words` begins a word of name or description; no words: all."""
    terms = _WORD.findall(words.casefold())

    def fits(one: IndexedSkill) -> bool:
        there = _WORD.findall(f"{one.name} {one.description}".casefold())
        return all(any(word.startswith(wanted) for word in there) for wanted in terms)

    return sorted(filter(fits, entries), key=lambda one: one.name)
