"""Changes the user's own panagents.yaml, one value at a time, and reports its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pancode.agents.agents import find_agent
from pancode.config.agents.definitions import FILE
from pancode.config.agents.writer import AgentsFile, AgentsText, entry_from, steps_of, value_of, written_names
from pancode.kernel.documents import read_document
from pancode.kernel.errors import ConfigError, NotFoundError, PancodeError, RefusedError, UsageError

Json = dict[str, Any]
_SHOWN = 6


def check_file(agents_file: AgentsFile, path: Path | None) -> Json:
    """Return `{"file", "agents", "disabled", "problems", "remarks"}`; problems have file and line. `path`: a
    file, or a folder that contains a panagents.yaml. NotFoundError if the path does not exist."""
    file = agents_file.file if path is None else (path / FILE if path.is_dir() else path)
    try:
        document = read_document(file)
        if document is None and path is not None:
            raise _no_file(file)
        found = agents_file.check(document)
    except ConfigError as wrong:
        return {"file": str(file), "agents": [], "disabled": [], "problems": [_as_json(wrong)], "remarks": []}
    agents = found.loaded.agents
    return {
        "file": str(file) if document is not None else None,
        "agents": sorted(agents),
        "disabled": sorted(name for name, agent in agents.items() if not agent.enabled),
        "problems": [_as_json(one) for one in found.problems],
        "remarks": [_as_json(one) for one in found.remarks],
    }


def _no_file(file: Path) -> NotFoundError:
    if not file.parent.is_dir():
        return NotFoundError(f"directory {file.parent} not found", fix=f"ls -l {file.parent.parent}")
    others = sorted(one.name for one in file.parent.glob("*.y*ml"))[:_SHOWN]
    why = f"that directory contains {', '.join(others)}" if others else "that directory contains no YAML file"
    return NotFoundError(f"file {file} not found", why=why, fix=f"ls -l {file.parent}")


def set_field(agents_file: AgentsFile, name: str, field: str, text: str) -> Json:
    """Set one field of one agent; for a shipped agent, an overriding entry is added."""
    _check_by_user(agents_file)
    steps = steps_of(field)
    file = AgentsText(agents_file)
    agents = file.before.loaded.agents
    written = name in agents or name in written_names(file.document)
    known = name if written else find_agent(agents, name).name  # resolves an alias, or raises an error
    value = value_of(steps, text)
    line = file.change(("agents", known, *steps), value)
    return {"agent": known, "field": field, "value": value, "file": str(agents_file.file), "line": line}


def new_agent(agents_file: AgentsFile, name: str, base: str) -> Json:
    """Copy another agent under a new name, for the user to edit."""
    _check_by_user(agents_file)
    file = AgentsText(agents_file)
    agents = file.before.loaded.agents
    if name in agents or name in written_names(file.document):
        fix = f"pancode agents set {name} FIELD VALUE, or choose another name"
        raise UsageError(f"agent {name} already exists", fix=fix, code="agent_exists")
    like = find_agent(agents, base)
    line = file.change(("agents", name), entry_from(like, file.before))
    return {"agent": name, "from": like.name, "file": str(agents_file.file), "line": line}


def _check_by_user(agents_file: AgentsFile) -> None:
    run = agents_file.environ.get("PANCODE_RUN")
    if run:
        raise RefusedError(
            f"a run cannot change agents; this request comes from inside {run}",
            why="an agent definition decides what a run may do",
            fix=f"leave it to the user who started {run}",
            code="inside_run",
        )


def _as_json(problem: PancodeError) -> Json:
    return {"message": str(problem), "why": problem.why, "fix": problem.fix}
