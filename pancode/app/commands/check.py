"""`pancode config check`: report errors in a file that users write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pancode.interfaces.cli.parameters import Argument, Json, completions, option, verb
from pancode.kernel.errors import UsageError

Kind = Literal["agents", "rules", "workflow", "skills"]
_NAMES: dict[str, Kind] = {"panagents": "agents", "pansafety": "rules", "SKILL": "skills"}
_KIND = "The kind of file (default: by its name): agents, rules, workflow or skills."


@verb(
    "config check",
    "pancode config check .pancode/workflows/release.yaml",
    "pancode config check --kind agents",
    "pancode config check .agents/skills/deploy",
)
def check(
    *,
    files: Annotated[
        list[str],
        Argument(
            metavar="[FILE]...",
            help="A file, the folder of a skill, or the name of a workflow.",
            autocompletion=completions.workflow_files,
            default_factory=list,
            show_default=False,
        ),
    ],
    kind: Annotated[Kind | None, option(_KIND)] = None,
    face: Json,
) -> int:
    """Report every error in FILE, with its line; exit code 3 if there are errors.

    With --kind and no FILE: check the agents or the rules in force here, or all skills.
    """
    from pancode.agents.commands.agents import check_agents
    from pancode.agents.commands.choices import check_rules
    from pancode.skills.commands.skills import check_skills
    from pancode.workflows.commands.group import check_workflow_file

    kind = kind or (kind_of(files[0]) if files else None)
    if kind is None or (kind == "workflow" and not files):
        raise UsageError("FILE or --kind is required", fix="pancode config check --kind agents")
    if kind == "skills":
        return check_skills(face, files)
    if len(files) > 1:
        raise UsageError("only one FILE is allowed", fix=f"pancode config check {files[0]}")
    file = files[0] if files else None
    if kind == "agents":
        return check_agents(face, file)
    return check_rules(face, file) if kind == "rules" else check_workflow_file(face, files[0])


def kind_of(file: str) -> Kind:
    """Return the kind of a file by its name: a folder has agents or skills; any other name is a workflow."""
    path = Path(file)
    if path.is_dir():
        return "agents" if os.path.exists(path / "panagents.yaml") else "skills"
    return _NAMES.get(path.stem, "workflow")
