"""Reads agent definitions: the shipped ones, overridden by the user's panagents.yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pancode.agents.agents import Agent, Agents, Flaw, find_flaws
from pancode.agents.runtimes import resolve_alias
from pancode.config.agents.format import DEFAULT_PROMPT, AgentEntry, entry_flaws, find_remarks
from pancode.config.layers import Folded, file_layer, find_problems, fold_layers
from pancode.config.schema import Part, Settings
from pancode.kernel.documents import Document, bytes_of, parse_document, read_document
from pancode.kernel.errors import ConfigError
from pancode.kernel.formatting import count_noun
from pancode.kernel.names import not_found

FOLDER = "prompts"
SUFFIX = ".md"
MOST_BYTES = 64_000


def prompt_files(home: Path) -> list[Path]:
    """Return all prompt files and their folder; if one of them changes, agents are read again."""
    folder = home / FOLDER
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    except OSError:
        names = []
    return [folder, *(folder / name for name in names)]


def prompt_text(home: Path, name: str, where: str) -> str:
    """Return an agent's role text from its file. A ConfigError names the place that refers to the file."""
    path = home / FOLDER / f"{name}{SUFFIX}"
    try:
        raw = bytes_of(path, MOST_BYTES)
        text = raw.decode()
    except FileNotFoundError as exc:
        names = [file.stem for file in prompt_files(home)[1:]]
        missing = not_found("prompt", name, names, f"ls {home / FOLDER}")
        fix = f"write the prompt to {path}, or remove `prompt`"
        raise ConfigError(f"{where}: {missing}", why=missing.why, fix=fix) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{where}: cannot read {path}", why=str(exc), fix=f"ls -l {path}") from exc
    if not text.strip() or len(raw) > MOST_BYTES:
        size = "is empty" if not text.strip() else f"the file has more than {MOST_BYTES} bytes"
        raise ConfigError(f"{where}: {path} {size}", fix=f"edit {path}")
    return text


FILE = "panagents.yaml"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BUILT_IN = f"built-in {FILE}"


class AgentFile(Part):
    """A panagents.yaml."""

    agents: dict[str, AgentEntry] = {}


@dataclass(frozen=True, slots=True)
class LoadedAgents:
    """All agents by name, and the origin of each key in their definitions."""

    agents: Agents
    folded: Folded

    def origin(self, name: str) -> str:
        """Return where the agent was last changed: `built-in` or `file:line`."""
        return self.folded.origin(f"agents.{name}")


@dataclass(frozen=True, slots=True)
class Checked:
    """The agents that could be loaded, with all errors and warnings."""

    loaded: LoadedAgents
    problems: tuple[ConfigError, ...]
    remarks: tuple[ConfigError, ...]


def load_agents(home: Path, settings: Settings, environ: Mapping[str, str]) -> LoadedAgents:
    """Return the shipped agents with the user's overrides; ConfigError with file:line."""
    found = check_agents(home, settings, environ, read_document(home / FILE))
    if not found.problems:
        return found.loaded
    first, more = found.problems[0], len(found.problems) - 1
    others = (
        f"{count_noun(more, 'more problem')} after this one; for a list: pancode config check --kind agents"
        if more
        else ""
    )
    why = "; ".join(part for part in (first.why, others) if part)
    raise ConfigError(str(first), why=why, fix=first.fix) from first


def check_agents(
    home: Path, settings: Settings, environ: Mapping[str, str], user: Document | None
) -> Checked:
    """Load the shipped agents with this file's overrides; collect all problems. `home`: has the prompts."""
    layers = [file_layer(parse_document(shipped_text(FILE), _BUILT_IN))] + (
        [file_layer(user)] if user is not None else []
    )
    folded = fold_layers(layers)
    reading = _Reading(home, folded, _list_variables(settings, environ))
    _, wrong = find_problems(AgentFile, {**folded.data, "agents": {}}, folded.origin)
    entries = folded.data.get("agents")
    if isinstance(entries, dict):
        for name, entry in entries.items():
            reading.take(name, entry)
    else:
        wrong += find_problems(AgentFile, folded.data, folded.origin)[1]
    loaded = LoadedAgents(reading.agents, folded)
    return Checked(loaded, (*wrong, *reading.wrong), tuple(reading.odd))


def shipped_text(name: str) -> str:
    """Return a file that is part of PanCode, such as panagents.yaml or reference.yaml, with its comments."""
    return resources.files("pancode.config").joinpath(name).read_text(encoding="utf-8")


class _Reading:
    """Reads the agents' entries one by one; an error in one entry does not hide errors in others."""

    def __init__(self, home: Path, folded: Folded, models: Mapping[str, str]) -> None:
        self._home, self._folded, self._models = home, folded, models
        self.agents: dict[str, Agent] = {}
        self.wrong: list[ConfigError] = []
        self.odd: list[ConfigError] = []

    def take(self, name: str, written: object) -> None:
        where, before = self._folded.origin(f"agents.{name}"), len(self.wrong)
        if not _NAME.fullmatch(name):
            what = f"{where}: {name!r} is not a valid agent name"
            self.wrong.append(ConfigError(what, fix="use a-z, 0-9, - and _"))
        entry, dropped = self._read_entry(name, written)
        if entry is None:
            return
        agent, unread = self._read_agent(name, entry)
        all_flaws = (*entry_flaws(name, entry, lambda field: self._is_own(name, field)), *find_flaws(agent))
        fit = len(self.wrong) == before
        known = [one for one in all_flaws if not {one.field, *one.beside} & {*dropped, *unread}]
        self.wrong += self._make_errors(name, known)
        self.odd += self._make_errors(name, find_remarks(name, entry))
        if fit:
            self.agents[name] = agent

    def _read_entry(self, name: str, written: object) -> tuple[AgentEntry | None, list[str]]:
        """Return the fields that could be read, and the names of the invalid fields."""
        file, wrong = find_problems(AgentFile, {"agents": {name: written}}, self._folded.origin)
        self.wrong += wrong
        if file is not None or not isinstance(written, Mapping):
            return (file.agents[name] if file is not None else None), []
        fit = {
            key: value
            for key, value in written.items()
            if find_problems(AgentFile, {"agents": {name: {key: value}}}, self._folded.origin)[0] is not None
        }
        return AgentEntry.model_validate(fit), [key for key in written if key not in fit]

    def _is_own(self, name: str, field: str) -> bool:
        origin = self._folded.origins.get(f"agents.{name}.{field}", _BUILT_IN)
        return not origin.startswith(_BUILT_IN)

    def _make_errors(self, name: str, found: Iterable[Flaw]) -> list[ConfigError]:
        return [
            ConfigError(
                f"{self._folded.origin(f'agents.{name}.{flaw.field}')}: {flaw.what}",
                why=flaw.why,
                fix=flaw.fix,
            )
            for flaw in found
        ]

    def _try_read(self, read: Callable[[], str | None], unread: list[str], field: str) -> str | None:
        """Read the file that the field refers to; if it is missing, record the problem and return None."""
        try:
            return read()
        except ConfigError as problem:
            self.wrong.append(problem)
            unread.append(field)
            return None

    def _read_agent(self, name: str, entry: AgentEntry) -> tuple[Agent, list[str]]:
        """Return the agent, and the fields whose references could not be resolved."""
        own = any(self._is_own(name, field) for field in AgentEntry.model_fields)
        origin, unread = self._folded.origin, list[str]()
        where = origin(f"agents.{name}.model")
        model = self._try_read(lambda: _expand_model(entry.model, self._models, where), unread, "model")
        prompt: str | None = entry.system_prompt
        if entry.prompt != DEFAULT_PROMPT:
            place = origin(f"agents.{name}.prompt")
            prompt = self._try_read(lambda: prompt_text(self._home, entry.prompt, place), unread, "prompt")
        return self._make_agent(name, entry, (model, prompt or "", own)), unread

    def _make_agent(self, name: str, entry: AgentEntry, read: tuple[str | None, str, bool]) -> Agent:
        model, prompt, own = read
        return Agent(
            name=name,
            description=entry.description,
            prompt=prompt,
            tools=entry.tools,
            read_only=entry.readonly,
            tier=entry.tier,
            speed=entry.speed,
            runtime=resolve_alias(entry.runtime) if entry.runtime else None,
            node=entry.node or None,
            gpus=entry.gpus,
            gpu_memory=entry.gpu_memory,
            model=model,
            reasoning=entry.reasoning,
            limits=entry.run_limits(),
            max_attempts=entry.attempts(),
            env=entry.env,
            secrets=entry.secrets,
            skills=entry.skills,
            tags=entry.tags,
            enabled=entry.enabled,
            autonomy=entry.autonomy,
            isolations=entry.isolation,
            network=entry.network,
            said_role=entry.role,
            sampling=entry.sampling.wire(),
            origin=self._folded.origin(f"agents.{name}"),
            own=own,
        )


def _list_variables(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of ${VARIABLES} in a model; settings override the environment."""
    models = settings.models
    known = {
        "PANCODE_MODEL": models.orchestrator,
        "PANCODE_WORKER_MODEL": models.worker,
        "PANCODE_SCOUT_MODEL": models.scout or models.worker,
    }
    return {**environ, **{name: model or "" for name, model in known.items()}}


def _expand_model(model: str | None, variables: Mapping[str, str], where: str) -> str | None:
    """Return the model with variables filled in; None if it consists only of an unset variable."""
    if model is None or (whole := _VARIABLE.fullmatch(model)) and not variables.get(whole[1]):
        return None

    def fill(match: re.Match[str]) -> str:
        if not variables.get(match[1]):
            raise ConfigError(
                f"{where}: model {model!r} uses ${{{match[1]}}}, which is not set",
                fix=f"export {match[1]}=..., or write the model name directly",
            )
        return variables[match[1]]

    return _VARIABLE.sub(fill, model)
