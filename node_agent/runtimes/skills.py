"""Where a run's skills lie in its home: a file for each of their files, below a folder named `skills`."""

from __future__ import annotations

from collections.abc import Collection

from node_agent.runtimes.base import LaunchRequest

FOLDER = "skills"
"""The sandbox shows every folder of this name that a launch has filled read-only, as a whole."""


def laid(request: LaunchRequest, place: str, reads: Collection[str] = ()) -> dict[str, bytes]:
    """The files below `place`. `reads`: folders of the repository in which its program looks by itself,
    whatever its flags say: what lies there is not laid a second time."""
    there = f"{place}/{FOLDER}" if place else FOLDER
    return {
        f"{there}/{skill.name}/{path}": data
        for skill in request.skills
        if skill.place not in reads
        for path, data in skill.files().items()
    }
