"""Where a run's skills lie in its home: a file for each of their files, below a folder named `skills`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from node_agent.runtimes.base import LaunchRequest
from node_agent.wire.skill import without_commands

FOLDER = "skills"
"""The sandbox shows each folder of this name that a launch has filled, as a whole and read-only."""


def lay_files(request: LaunchRequest, folder: str, reads: Collection[str] = ()) -> dict[str, bytes]:
    """Return the skills' files below this folder. `reads`: folders of the repository in which the program
    looks whatever its flags say; the skills of those folders are not laid a second time. Commands in their
    texts become words: a program that ran them would ask no rule and no hook before.
    """
    return {
        f"{folder}/{skill.name}/{path}": without_commands(path, data)
        for skill in request.skills
        if skill.place not in reads
        for path, data in skill.files().items()
    }


PLUGIN = "plugin"
_ABOUT = {"name": "pancode", "version": "1.0.0", "description": "The skills of this run."}


def build_plugin(request: LaunchRequest) -> dict[str, bytes]:
    """Return the skills as a plugin of Claude Code, which without settings reads only skills of plugins that
    its command line names (measured). Empty without skills.
    """
    if not request.skills:
        return {}
    about = {f"{PLUGIN}/.claude-plugin/plugin.json": json.dumps(_ABOUT).encode()}
    return {**about, **lay_files(request, f"{PLUGIN}/{FOLDER}")}


def list_plugins(request: LaunchRequest) -> list[dict[str, str]]:
    """Return the plugin as a setting names it; the path is also the value of a flag. Empty without skills."""
    return [{"type": "local", "path": f"{request.home}/{PLUGIN}"}] if request.skills else []


def list_tool_names(
    request: LaunchRequest, allowed: Sequence[str], stands_for: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return those of the level's tools that the agent has, and Claude Code's tool for reading skills."""
    own = [tool for tool in allowed if request.has(*stands_for[tool])]
    return [*own, "Skill"] if request.skills else own
