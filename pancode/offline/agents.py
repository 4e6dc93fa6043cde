"""Changes the user's own panagents.yaml, one value at a time, and reports what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from pancode.agents.agents import find_agent
from pancode.config.agentedit import set_value
from pancode.config.agentfile import AgentEntry, LimitsEntry, SamplingEntry
from pancode.config.agents import FILE, Checked, check_agents
from pancode.config.documents import Document, parse_document, read_document
from pancode.config.load import ConfigPlaces, load
from pancode.config.surroundings import FileSurroundings
from pancode.core.names import nearest
from pancode.errors import ConfigError, ConflictError, NotFoundError, PancodeError, RefusedError, UsageError
from pancode.host.files import write_durable

Json = dict[str, Any]
_TEXTS = {"description", "system_prompt", "prompt", "model", "runtime"}
_GROUPS: dict[str, type[BaseModel]] = {"limits": LimitsEntry, "sampling": SamplingEntry}
_SHOWN = 6
_LISTS = {"tools", "runtime_args", "env", "secrets", "tags"}


@dataclass(frozen=True, slots=True)
class AgentsFile:
    """The owner of an agent file, and the scope of its settings."""

    home: Path
    cwd: Path
    environ: Mapping[str, str]

    @property
    def file(self) -> Path:
        return self.home / FILE

    def check(self, document: Document | None) -> Checked:
        """Check these definitions over the shipped ones."""
        project = FileSurroundings(self.home, self.environ).project_of(str(self.cwd))
        places = ConfigPlaces(self.home, Path(project) if project is not None else None)
        return check_agents(self.home, load(places, self.environ).settings, self.environ, document)


def check_file(agents_file: AgentsFile, path: Path | None) -> Json:
    """`{"file", "agents", "disabled", "problems", "remarks"}`: everything at once, each with file and line.

    `path`: a file, or the folder in which a panagents.yaml is. NotFoundError where there is none.
    """
    file = agents_file.file if path is None else _named(path)
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


def _named(path: Path) -> Path:
    """A folder stands for the file in it."""
    return path / FILE if path.is_dir() else path


def _no_file(file: Path) -> NotFoundError:
    if not file.parent.is_dir():
        return NotFoundError(f"there is no folder {file.parent}", fix=f"ls -l {file.parent.parent}")
    others = sorted(one.name for one in file.parent.glob("*.y*ml"))[:_SHOWN]
    why = f"in that folder there are {', '.join(others)}" if others else "that folder has no YAML file"
    return NotFoundError(f"there is no file {file}", why=why, fix=f"ls -l {file.parent}")


def set_field(agents_file: AgentsFile, name: str, field: str, text: str) -> Json:
    """One field of one agent; a shipped agent gets an entry that is laid over it."""
    _by_a_person(agents_file)
    steps = _steps(field)
    file = _File(agents_file)
    agents = file.before.loaded.agents
    written = name in agents or name in _names(file.document)
    known = name if written else find_agent(agents, name).name  # an alias, or an error
    value = _value(steps, text)
    line = file.change(("agents", known, *steps), value)
    return {"agent": known, "field": field, "value": value, "file": str(agents_file.file), "line": line}


def new_agent(agents_file: AgentsFile, name: str, base: str) -> Json:
    """A copy of another agent under its own name, to be changed."""
    _by_a_person(agents_file)
    file = _File(agents_file)
    agents = file.before.loaded.agents
    if name in agents or name in _names(file.document):
        fix = f"pancode agents set {name} FIELD VALUE, or take another name"
        raise UsageError(f"there is an agent {name} already", fix=fix, code="agent_exists")
    like = find_agent(agents, base)
    entry: Json = {
        "description": like.description,
        "readonly": like.read_only,
        "tools": list(like.tools),
        "tier": like.tier.value,
        "speed": like.speed.value,
        "role": like.role.value,
        "system_prompt": like.prompt,
    }
    line = file.change(("agents", name), entry)
    return {"agent": name, "from": like.name, "file": str(agents_file.file), "line": line}


class _File:
    """The file as it was read; written only when nothing new is wrong with it, and nobody else wrote."""

    def __init__(self, agents_file: AgentsFile) -> None:
        self._agents_file = agents_file
        self._stamp = _stamp(agents_file.file)
        self.document = read_document(agents_file.file)
        self._text = agents_file.file.read_bytes().decode() if self.document is not None else ""
        self.before = agents_file.check(self.document)

    def change(self, path: tuple[str, ...], value: object) -> int:
        """The line in which the changed value stands now. ConfigError, and the file as it was."""
        place = str(self._agents_file.file)
        edited = set_value(self._text, path, value, place)
        document = parse_document(edited, place)
        had = {_words(one) for one in self.before.problems}
        new = [one for one in self._agents_file.check(document).problems if _words(one) not in had]
        if new:
            raise ConfigError(f"nothing is written: {_words(new[0])}", why=new[0].why, fix=new[0].fix)
        self._write(edited)
        return document.lines[".".join(path)]

    def _write(self, text: str) -> None:
        """Write through a link to its target file; the file's mode stays."""
        real = Path(os.path.realpath(self._agents_file.file))
        mode = real.stat().st_mode & 0o777 if self._stamp is not None else 0o600
        if _stamp(self._agents_file.file) != self._stamp:
            raise ConflictError(
                f"{self._agents_file.file} was changed meanwhile; nothing is written", fix="try again"
            )
        try:
            write_durable(real, text.encode())
            if mode != 0o600:
                real.chmod(mode)
        except OSError as exc:
            raise ConfigError(f"{real} cannot be written", why=str(exc), fix=f"ls -l {real.parent}") from exc


def _by_a_person(agents_file: AgentsFile) -> None:
    run = agents_file.environ.get("PANCODE_RUN")
    if run:
        raise RefusedError(
            f"agents are not for a run to change, and this was asked from inside {run}",
            why="a definition says what a run may do",
            fix=f"leave it to the person who started {run}",
            code="inside_run",
        )


def _steps(field: str) -> tuple[str, ...]:
    """The field as keys; UsageError with the nearest for one that is none."""
    names = [name for name in AgentEntry.model_fields if name != "limits"]
    names += [f"{group}.{name}" for group, kind in _GROUPS.items() for name in kind.model_fields]
    if field not in names:
        near = nearest(field, names)
        why = f"did you mean {near}?" if near else ""
        raise UsageError(f"an agent has no field {field!r}", why=why, fix=f"one of {', '.join(names)}")
    return tuple(field.split("."))


def _value(steps: tuple[str, ...], text: str) -> object:
    """The YAML value; where words are wanted, the text itself."""
    if steps[0] in _TEXTS:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        fix = "put it in quotes, or write a list as '[read, grep]'"
        raise UsageError(f"{text!r} is no value", why=str(exc).splitlines()[0], fix=fix) from exc
    if steps[0] in _LISTS and isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def _names(document: Document | None) -> list[str]:
    agents = document.data.get("agents") if document is not None else None
    return list(agents) if isinstance(agents, dict) else []


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return (state.st_mtime_ns, state.st_size, state.st_ino)


def _words(problem: PancodeError) -> str:
    """The words of the problem without its place, which an edit may move."""
    return str(problem).partition(": ")[2]


def _as_json(problem: PancodeError) -> Json:
    return {"message": str(problem), "why": problem.why, "fix": problem.fix}
