"""The tool that reads a skill of the run: its instructions, or another of its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from node_agent.native.tools.files import MOST_READ, Box, Failed, clip_middle, read_all, text_arg

INSTRUCTIONS = "SKILL.md"
MOST_NAMES = 100


def read_skill_file(box: Box, given: Mapping[str, Any]) -> str:
    """Return the text of `file`; if it is the instructions, also the names of the skill's other files."""
    name, file = text_arg(given, "name"), text_arg(given, "file", INSTRUCTIONS)
    if name not in box.skills:
        raise Failed(f"this run has no skill {name!r}; it has {', '.join(box.skills) or 'none'}")
    tree = box.skills[name]
    with tree.at(file) as spot:
        data, _ = read_all(spot, MOST_READ)
    text = clip_middle(
        data.decode("utf-8", "replace"), box.most_chars, "the whole text is too long for this model"
    )
    others = [one for one in _list_files(tree.top) if one != INSTRUCTIONS] if file == INSTRUCTIONS else []
    return f"{text}\n[its other files: {', '.join(others)}]" if others else text


def _list_files(top: str) -> list[str]:
    found = [os.path.relpath(os.path.join(at, name), top) for at, _, names in os.walk(top) for name in names]
    return sorted(found)[:MOST_NAMES]
