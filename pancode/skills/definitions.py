"""Slash commands and agent definitions of the home: one file each, checked and copied like skills."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from pancode.kernel.formatting import format_bytes
from pancode.skills.model import MOST_TEXT, Skill, SkillFile, make_error, parse_definition

KINDS: dict[str, dict[str, str]] = {
    "commands": {
        "claude": ".claude/commands",
        "opencode": ".config/opencode/commands",
        "qwen": ".qwen/commands",
    },
    "agents": {"claude": ".claude/agents", "qwen": ".qwen/agents"},
}
"""Folders below the home, by kind and program. Only programs that read Claude Code's Markdown format are
listed: others do not start if an agent's `tools` is text."""
SUFFIX = ".md"


def read_definitions(home: Path) -> list[Skill]:
    """Return definitions in PANCODE_HOME, named by kind and file, such as `commands/fix`. Skip links."""
    return [_read(kind, path) for kind in KINDS for path in sorted((home / kind).glob(f"*{SUFFIX}"))]


def _read(kind: str, path: Path) -> Skill:
    name, about = f"{kind}/{path.name.removesuffix(SUFFIX)}", path.lstat()
    if not stat.S_ISREG(about.st_mode):
        return Skill(
            name,
            {},
            "",
            "",
            (make_error("no_file", f"{path} is not a regular file; links are not followed"),),
        )
    if about.st_size > MOST_TEXT:
        found = make_error(
            "too_big",
            f"{path} has {format_bytes(about.st_size)}; at most {format_bytes(MOST_TEXT)} are allowed",
        )
        return Skill(name, {}, "", "", (found,))
    return parse_definition(name, SkillFile(path.read_bytes()))


def find_folders(tools: Sequence[str]) -> dict[str, str]:
    """Return these programs' definition folders below home, by manifest name such as `claude-commands`."""
    return {
        f"{tool}-{kind}": folder
        for kind, folders in KINDS.items()
        for tool, folder in folders.items()
        if not tools or tool in tools
    }


def list_wanted(found: Sequence[Skill], tools: Sequence[str]) -> dict[str, dict[str, tuple[str, bool]]]:
    """Return the file marks wanted in each of these programs' folders, by folder and file name."""
    marks = {one.name: one.marks[""] for one in found if one.is_sound}
    return {
        key: {
            f"{name.partition('/')[2]}{SUFFIX}": mark
            for name, mark in marks.items()
            if key.endswith(f"-{name.partition('/')[0]}")
        }
        for key in find_folders(tools)
    }
