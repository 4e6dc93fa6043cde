"""Where a run's skills lie in its home: a file for each of their files, below a folder named `skills`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from node_agent.runtimes.base import LaunchRequest

FOLDER = "skills"
"""The sandbox shows every folder of this name that a launch has filled read-only, as a whole."""


def laid(request: LaunchRequest, folder: str, reads: Collection[str] = ()) -> dict[str, bytes]:
    """The files below this folder. `reads`: folders of the repository in which its program looks by itself,
    whatever its flags say: what lies there is not laid a second time."""
    return {
        f"{folder}/{skill.name}/{path}": data
        for skill in request.skills
        if skill.place not in reads
        for path, data in skill.files().items()
    }


PLUGIN = "plugin"
_ABOUT = {"name": "pancode", "version": "1.0.0", "description": "The skills of this run."}


def plugin(request: LaunchRequest) -> dict[str, bytes]:
    """The same as a plugin of Claude Code: without settings it reads the skills of plugins that its command
    line names, and no others (measured). Empty without skills."""
    if not request.skills:
        return {}
    about = {f"{PLUGIN}/.claude-plugin/plugin.json": json.dumps(_ABOUT).encode()}
    return {**about, **laid(request, f"{PLUGIN}/{FOLDER}")}


def plugins(request: LaunchRequest) -> list[dict[str, str]]:
    """That plugin as a setting names it; its path is the value of a flag, too. Empty without skills."""
    return [{"type": "local", "path": f"{request.home}/{PLUGIN}"}] if request.skills else []


def named(
    request: LaunchRequest, allowed: Sequence[str], stands_for: Mapping[str, Sequence[str]]
) -> list[str]:
    """Of the tools of its level those of its agent, and the one by which Claude Code reads a skill."""
    own = [tool for tool in allowed if request.has(*stands_for[tool])]
    return [*own, "Skill"] if request.skills else own
