"""Changes the user's own panagents.yaml after a check, leaving the rest of it unchanged."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import yaml
from pydantic import BaseModel

from pancode.agents.agents import Agent, find_agent
from pancode.config.agents.definitions import FILE, Checked, check_agents
from pancode.config.agents.edit import format_flow, set_value
from pancode.config.agents.format import AgentEntry, LimitsEntry, SamplingEntry
from pancode.config.load import ConfigPlaces, load
from pancode.config.settings_json import value_of as kept_value
from pancode.config.user_environment import FileSurroundings
from pancode.kernel.documents import Document, parse_document, read_document
from pancode.kernel.errors import ConfigError, ConflictError, PancodeError, RefusedError, UsageError
from pancode.kernel.host.files import write_durable
from pancode.kernel.names import find_nearest
from pancode.runs.user_environment import AgentsChange

Json = dict[str, Any]
_TEXTS = {"description", "system_prompt", "prompt", "model", "runtime", "node"}
_GROUPS: dict[str, type[BaseModel]] = {"limits": LimitsEntry, "sampling": SamplingEntry}
_LISTS = {"tools", "runtime_args", "env", "secrets", "skills", "tags"}
BASE, DEFAULT_BASE = "from", "builder"
MOST_TEXT = 64_000
"""The maximum characters of a file that an agent's proposal may change: the text is stored for undo."""
Edit = tuple[tuple[str, ...], object]


@dataclass(frozen=True, slots=True)
class AgentsFile:
    """An agents file, with its home and the folder whose settings apply."""

    home: Path
    cwd: Path
    environ: Mapping[str, str]

    @property
    def file(self) -> Path:
        return self.home / FILE

    def check(self, document: Document | None) -> Checked:
        """Check these definitions as overrides of the shipped ones."""
        project = FileSurroundings(self.home, self.environ).project_of(str(self.cwd))
        places = ConfigPlaces(self.home, Path(project) if project is not None else None)
        return check_agents(self.home, load(places, self.environ).settings, self.environ, document)


class AgentsText:
    """The file as read. It is written only if that adds no errors and the file was not changed meanwhile."""

    def __init__(self, place: AgentsFile) -> None:
        self._place = place
        self._stamp = _stamp(place.file)
        self.document = read_document(place.file)
        self.text = place.file.read_bytes().decode() if self.document is not None else ""
        self.before = place.check(self.document)

    def edited(self, edits: Sequence[Edit]) -> tuple[str, Document]:
        """Return the text with these values, and its parsed content. ConfigError if that adds an error."""
        place, text = str(self._place.file), self.text
        for path, value in edits:
            text = set_value(text, path, value, place)
        document = parse_document(text, place)
        had = {_format_problem(one) for one in self.before.problems}
        new = [one for one in self._place.check(document).problems if _format_problem(one) not in had]
        if new:
            raise ConfigError(
                f"nothing was written: {_format_problem(new[0])}", why=new[0].why, fix=new[0].fix
            )
        return text, document

    def change(self, path: tuple[str, ...], value: object) -> int:
        """Write the value; return its new line number. After a ConfigError, the file is unchanged."""
        text, document = self.edited([(path, value)])
        self.write(text)
        return document.lines[".".join(path)]

    def write(self, text: str) -> None:
        """Write the text, following a symbolic link; the file's mode is preserved."""
        real = Path(os.path.realpath(self._place.file))
        mode = real.stat().st_mode & 0o777 if self._stamp is not None else 0o600
        if _stamp(self._place.file) != self._stamp:
            raise ConflictError(
                f"{self._place.file} changed in the meantime; nothing was written", fix="try again"
            )
        try:
            write_durable(real, text.encode())
            if mode != 0o600:
                real.chmod(mode)
        except OSError as exc:
            raise ConfigError(f"cannot write {real}", why=str(exc), fix=f"ls -l {real.parent}") from exc


class OwnAgents:
    """Changes to the user's agents file, requested as one line of fields; thread-safe."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._place, self._lock = AgentsFile(home, home, environ), Lock()

    def look(self, name: str, text: str) -> AgentsChange:
        """Return how the fields in this text would change an agent, or which new agent they would create."""
        return self._decide_change(name, text)[0]

    def change(self, name: str, text: str) -> AgentsChange:
        """Make the change durable and return it."""
        with self._lock:
            change, file = self._decide_change(name, text)
            file.write(change.after)
            return change

    def text(self) -> str | None:
        """Return the whole file; None: it does not exist."""
        file = AgentsText(self._place)
        return None if file.document is None else file.text

    def put_back(self, text: str | None) -> None:
        """Restore the whole file as it was before a change; None: it did not exist."""
        with self._lock:
            if text is None:
                self._place.file.unlink(missing_ok=True)
            else:
                AgentsText(self._place).write(text)

    def _decide_change(self, name: str, text: str) -> tuple[AgentsChange, AgentsText]:
        found = kept_value(name, text)
        fix = "write the fields as {from: builder, runtime: codex, limits.usd: 2}"
        if not isinstance(found, dict) or not found or not all(isinstance(key, str) for key in found):
            raise UsageError(f"{text[:80]!r} is not a list of agent fields", fix=fix, code="bad_value")
        fields, file = dict(found), AgentsText(self._place)
        if len(file.text) > MOST_TEXT:
            fix = f"pancode agents set {name} FIELD VALUE"
            raise RefusedError(f"{self._place.file} is too large for this change", fix=fix, code="too_long")
        agents = file.before.loaded.agents
        is_new = name not in agents and name not in written_names(file.document)
        base = str(fields.pop(BASE, "") or (DEFAULT_BASE if is_new else ""))
        if base and not is_new:
            what = f"agent {name} already exists"
            raise UsageError(what, fix=f"omit {BASE}", code="agent_exists")
        made = entry_from(find_agent(agents, base), file.before) if is_new else {}
        edits: list[Edit] = [(("agents", name), made)] if is_new else []
        edits += [(("agents", name, *steps_of(field)), value) for field, value in fields.items()]
        after, _ = file.edited(edits)
        was = (
            "none"
            if is_new
            else format_flow({field: _find_value(file.before, name, field) for field in fields})
        )
        now = format_flow({BASE: base, **_laid_over(made, fields)} if is_new else fields)
        before = None if file.document is None else file.text
        return AgentsChange(str(self._place.file), before, after, was, now), file


def _find_value(checked: Checked, name: str, field: str) -> object:
    """Return the field's written value; None: not set."""
    value: object = checked.loaded.folded.data.get("agents")
    for step in (name, *field.split(".")):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _laid_over(entry: Json, fields: Json) -> Json:
    """Return the entry with these fields set over it: all fields of a new agent, shown for approval."""
    whole = dict(entry)
    for field, value in fields.items():
        group, _, key = field.partition(".")
        inner = whole.get(group)
        whole[group] = {**(inner if isinstance(inner, dict) else {}), key: value} if key else value
    return whole


def entry_from(like: Agent, checked: Checked) -> Json:
    """Return an editable copy of an agent, with all its written fields, including its limits."""
    entries = checked.loaded.folded.data.get("agents")
    written = entries.get(like.name, {}) if isinstance(entries, Mapping) else {}
    return {
        # replaced by the prompt's text in system_prompt
        **{key: value for key, value in written.items() if key != "prompt"},
        "description": like.description,
        "readonly": like.read_only,
        "tools": list(like.tools),
        "tier": like.tier.value,
        "speed": like.speed.value,
        "role": like.role.value,
        "system_prompt": like.prompt,
    }


def steps_of(field: str) -> tuple[str, ...]:
    """Return the keys in a field's dotted name. UsageError, with the nearest name, for an unknown field."""
    names = [name for name in AgentEntry.model_fields if name != "limits"]
    names += [f"{group}.{name}" for group, kind in _GROUPS.items() for name in kind.model_fields]
    if field not in names:
        near = find_nearest(field, names)
        why = f"did you mean {near}?" if near else ""
        raise UsageError(f"agents do not have a field {field!r}", why=why, fix=f"one of {', '.join(names)}")
    return tuple(field.split("."))


def value_of(steps: tuple[str, ...], text: str) -> object:
    """Parse the text as a YAML value; for fields that contain text, return it unchanged."""
    if steps[0] in _TEXTS:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        fix = "put it in quotes, or write a list as '[read, grep]'"
        raise UsageError(f"{text!r} is not a valid value", why=str(exc).splitlines()[0], fix=fix) from exc
    if steps[0] in _LISTS and isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def written_names(document: Document | None) -> list[str]:
    agents = document.data.get("agents") if document is not None else None
    return list(agents) if isinstance(agents, dict) else []


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return (state.st_mtime_ns, state.st_size, state.st_ino)


def _format_problem(problem: PancodeError) -> str:
    """Return the problem's text without its line number, which an edit may change."""
    return str(problem).partition(": ")[2]
