"""Writes the files of a run's skills into its home, in a folder named `skills`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from node_agent.runtimes.base import LaunchRequest
from node_agent.wire.prompt_commands import without_commands

FOLDER = "skills"
"""The name of the folders that the sandbox shows completely and read-only, if a launch has filled them."""


def lay_files(request: LaunchRequest, folder: str, reads: Collection[str] = ()) -> dict[str, bytes]:
    """Return the skills' files below this folder. `reads`: folders of the repository that the program always
    reads; their skills are left out. Embedded commands become plain text, because a program would run them
    without a check by any rule or hook."""
    return {
        f"{folder}/{skill.name}/{path}": without_commands(path, data)
        for skill in request.skills
        if skill.place not in reads
        for path, data in skill.files().items()
    }


PLUGIN = "plugin"
_ABOUT = {"name": "pancode", "version": "1.0.0", "description": "The skills of this run."}


def build_plugin(request: LaunchRequest) -> dict[str, bytes]:
    """Return the skills as a plugin of Claude Code, which without settings reads only the skills of plugins
    named on its command line (measured). Empty without skills."""
    if not request.skills:
        return {}
    about = {f"{PLUGIN}/.claude-plugin/plugin.json": json.dumps(_ABOUT).encode()}
    return {**about, **lay_files(request, f"{PLUGIN}/{FOLDER}")}


def list_plugins(request: LaunchRequest) -> list[dict[str, str]]:
    """Return the plugin as an entry of a setting; its path is also used for a flag. Empty without skills."""
    return [{"type": "local", "path": f"{request.home}/{PLUGIN}"}] if request.skills else []


def list_tool_names(
    request: LaunchRequest, allowed: Sequence[str], stands_for: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the allowed tools that the agent has and, with skills, Claude Code's tool for reading skills."""
    own = [tool for tool in allowed if request.has(*stands_for[tool])]
    return [*own, "Skill"] if request.skills else own
