"""The agent programs that read skills, and the folder of the home in which each looks.

Each of them reads the same form, a folder with SKILL.md. A folder that several read is written once: a
program that finds one skill in two folders lists it twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from pancode.core.names import not_found

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
"""Program to folder below the home, as the programs were found to look. OpenCode reads both."""
KEYS: dict[str, str] = {
    ".claude/skills": "claude",
    ".agents/skills": "agents",
    ".gemini/antigravity/skills": "antigravity",
}
"""Folder to the word that names it in the manifest and in backups."""


def folders(tools: Sequence[str]) -> dict[str, str]:
    """Word to folder, of these programs; none given: of all. NotFoundError."""
    for tool in tools:
        if tool not in TOOLS:
            raise not_found("tool", tool, list(TOOLS), f"one of: {', '.join(TOOLS)}")
    return {KEYS[TOOLS[tool]]: TOOLS[tool] for tool in tools or TOOLS}


def readers(key: str) -> list[str]:
    """The programs that read this folder."""
    return [tool for tool, folder in TOOLS.items() if KEYS[folder] == key]
