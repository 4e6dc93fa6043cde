"""Reads all layers of the settings: machine, user, repository, stored, project, environment, flags."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from node_agent.policy.rulefile import FILES as RULE_FILES
from pancode.agents.presets import Preset, describe_raise
from pancode.config.agents.definitions import FILE as AGENTS_FILE
from pancode.config.agents.presets import FILE as PRESETS_FILE
from pancode.config.agents.presets import in_force, preset_layer
from pancode.config.layers import (
    Folded,
    Layer,
    environment_layer,
    file_layer,
    fold_layers,
    layer_of,
    parse_model,
    project_layer,
)
from pancode.config.projects import project_at, project_values
from pancode.config.removed import RemovedSetting, take_removed
from pancode.config.schema import BY_NAME, Settings
from pancode.config.settings_json import kept_layer, read_kept
from pancode.config.units import duration_ms, size_bytes
from pancode.config.variables import BUILT_IN, VARIABLES, unknown_variables
from pancode.kernel.documents import Document, read_document
from pancode.kernel.errors import ConfigError
from pancode.kernel.formatting import find_passwords, mask_passwords
from pancode.kernel.values import replace
from pancode.runs.project_rules import PROJECT, NamedProject
from pancode.runs.request import Defaults

_DURATIONS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_SIZES = (("GiB", 2**30), ("GB", 10**9), ("MiB", 2**20), ("MB", 10**6), ("KiB", 2**10), ("KB", 10**3))


def format_with_passwords(value: object, field: FieldInfo) -> str:
    """Format the value with its passwords: only for comparison, never for output."""
    reads = {mark.func for mark in _list_marks(field) if isinstance(mark, BeforeValidator)}
    if isinstance(value, int) and duration_ms in reads:
        return format_duration(value)
    if isinstance(value, int) and size_bytes in reads:
        return format_size(value)
    text: str = yaml.safe_dump(
        _simplify_value(value), default_flow_style=True, width=10**6, allow_unicode=True
    )
    return text.removesuffix("...\n").rstrip("\n")


def format_duration(ms: int) -> str:
    """Format a duration exactly, in as few units as possible."""
    text = ""
    for unit, length in _DURATIONS:
        count, ms = divmod(ms, length)
        text += f"{count}{unit}" if count else ""
    return text or "0ms"


def format_size(count: int) -> str:
    """Format a size in the largest unit that is exact."""
    for unit, length in _SIZES:
        if count and count % length == 0:
            return f"{count // length}{unit}"
    return f"{count}B"


def _list_marks(field: FieldInfo) -> Iterator[object]:
    yield from field.metadata
    yield from _marks_in(field.annotation)


def _marks_in(hint: Any) -> Iterator[object]:
    """Yield the annotations of a type hint, including those inside `X | None`."""
    if get_origin(hint) is Annotated:
        yield from get_args(hint)[1:]
    for part in get_args(hint):
        yield from _marks_in(part)


def _simplify_value(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case Decimal():
            whole = f"{value:f}"
            return (
                int(whole)
                if whole.isdigit()
                else float(whole)
                if Decimal(str(float(whole))) == value
                else whole
            )
        case tuple() | list():
            return [_simplify_value(one) for one in value]
        case BaseModel():
            return _simplify_value(value.model_dump())
        case dict():
            return {str(key): _simplify_value(one) for key, one in value.items()}
    return value


MACHINE_FILE = Path("/etc/pancode/pancode.yaml")
FILE = "pancode.yaml"
_URLS = {
    "redis.url": "redis://:${REDIS_PASSWORD}@host:6379",
    "ledger.url": "postgresql://me:${DATABASE_PASSWORD}@host/pancode",
}
"""Keys whose value is a URL, each with an example that refers to a password."""
_VARIABLE_OF = {key: name for name, (key, _) in VARIABLES.items()}
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, their origins, and warnings about suspicious ones."""

    settings: Settings
    folded: Folded
    warnings: tuple[str, ...] = ()
    preset: Preset | None = None
    raised: str = ""
    """A warning that the preset allows more than the settings that it overrides; empty: it does not."""
    outranked: Mapping[str, str] = field(default_factory=dict)
    """By key, as text: the variables of this command that the preset overrides."""
    project: NamedProject | None = None
    """The named project of the repository; None: the repository has no named project."""
    misnamed: tuple[str, ...] = ()
    """A warning for each file whose name is nearly that of a file which is read."""
    removed: tuple[RemovedSetting, ...] = ()
    """The settings that this version does not have, and leaves out."""

    def defaults(self) -> Defaults:
        """Return the settings in the form used to resolve dispatches."""
        origins = {key: self._format_origin(key) for key in ("models.worker", "models.scout")}
        return replace(
            self.settings.defaults(),
            raised=self.raised,
            outranked=self.outranked,
            origins=origins,
            project_says=self._project_says(),
            misnamed=self.misnamed,
            landings_held="; ".join(one.words for one in self.removed if one.holds),
        )

    def origin(self, path: str) -> str:
        """Return `built-in`, `file:line`, a variable's name, `command line`, or `preset NAME`."""
        return self.folded.origins.get(path, BUILT_IN)

    def _project_says(self) -> str:
        """Describe the settings of the project that nothing overrides."""
        if self.project is None:
            return ""
        name = f"project {self.project.name}"
        keys = [one.setting for one in PROJECT.values() if one.setting and self.origin(one.setting) == name]
        values = {path: value for path, value, _ in self.rows()} if keys else {}
        return f"{name} sets {', '.join(f'{key} {values[key]}' for key in keys)}" if keys else ""

    def _format_origin(self, path: str) -> str:
        """Return the setting's origin; for a preset's setting, also the line in the preset."""
        origin = self.origin(path)
        if self.preset is None or origin != f"preset {self.preset.name}":
            return origin
        return f"{origin}, {self.preset.places[path]}" if path in self.preset.places else origin

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (path, value as in a file, origin) of every setting; passwords in URLs are masked."""
        return [
            (path, mask_passwords(format_with_passwords(v, field)), self.origin(path))
            for path, v, field in _list_fields(self.settings)
        ]

    def whole_rows(self) -> list[tuple[str, str, str]]:
        """Return the same rows as `rows`, but with passwords: only to detect changes, never for output."""
        return [
            (path, format_with_passwords(v, field), self.origin(path))
            for path, v, field in _list_fields(self.settings)
        ]


@dataclass(frozen=True, slots=True)
class ConfigPlaces:
    """The configuration files. `project`: root of the repository, None outside one."""

    home: Path
    project: Path | None = None
    machine: Path = MACHINE_FILE


def load(
    places: ConfigPlaces,
    environ: Mapping[str, str],
    callers: Mapping[str, object] | None = None,
    preset: str | None = None,
    kept: Document | None = None,
) -> Loaded:
    """Return all layers merged; ConfigError names the invalid file and line, variable or preset.

    `callers`: values from one command's variables, by dotted path. `preset`: that of this call; None: the
    applied one, or the environment's. NotFoundError for an unknown preset. `kept`: replaces settings.json, to
    try a change before it is written.
    """
    layers = [
        file_layer(d) for d in map(read_document, (places.machine, places.home / FILE)) if d is not None
    ]
    project = read_document(places.project / FILE) if places.project is not None else None
    if project is not None:
        layers.append(project_layer(project))
    layers.append(kept_layer(read_kept(places.home) if kept is None else kept))
    named = (
        None if places.project is None else project_at(fold_layers(layers).data.get(BY_NAME), places.project)
    )
    layers += [layer_of(project_values(named), f"project {named.name}")] if named is not None else []
    layers += [environment_layer(environ), *_callers_layers(callers or {})]
    chosen = in_force(places.home, environ, preset)
    folded, settings, removed = _fold_settings(
        [*layers, *([preset_layer(chosen)] if chosen else [])], environ
    )
    below = _fold_settings(layers, environ)[1].dispatch.safety if chosen else settings.dispatch.safety
    unknown = [variable.words for variable in unknown_variables(environ)]
    # a sentence for each variable that a preset overrides
    values = {key: environ.get(name, "").strip() for name, (key, _) in VARIABLES.items()}
    idle_variables = list(
        _list_outranked({key: value for key, value in values.items() if value}, chosen).values()
    )
    misnamed = (*find_misnamed(places.home, HOME_FILES), *find_misnamed(places.project, PROJECT_FILES))
    left_out = [one.words for one in removed]
    warnings = (*left_out, *unknown, *idle_variables, *_idle_files(settings, folded), *misnamed)
    outranked = _list_outranked(callers or {}, chosen)
    raised = describe_raise(chosen, below)
    return Loaded(settings, folded, warnings, chosen, raised, outranked, named, misnamed, removed)


PROJECT_FILES = (FILE, *RULE_FILES)
HOME_FILES = (*PROJECT_FILES, AGENTS_FILE, PRESETS_FILE)


def find_misnamed(folder: Path | None, names: Sequence[str]) -> tuple[str, ...]:
    """Return a warning for each file that has one of these names with another ending, another case, a dot in
    front, or without or with a plural s; the file itself is not read."""
    try:
        there = sorted(os.listdir(folder)) if folder is not None else []
    except OSError:
        return ()
    right = {_reduce_name(name): name for name in names}
    return tuple(
        f"{Path(folder or '', name)} is not read; rename it to {right[_reduce_name(name)]}"
        for name in there
        if name not in names and _reduce_name(name) in right
    )


def _reduce_name(name: str) -> str:
    stem, dot, ending = name.lower().lstrip(".").rpartition(".")
    return re.sub("[-_]", "", stem).removesuffix("s") if dot and ending in ("yaml", "yml") else name


def _callers_layers(callers: Mapping[str, object]) -> list[Layer]:
    return [layer_of({key: value}, _VARIABLE_OF.get(key, "command line")) for key, value in callers.items()]


def _fold_settings(
    layers: list[Layer], environ: Mapping[str, str]
) -> tuple[Folded, Settings, tuple[RemovedSetting, ...]]:
    folded = fold_layers(layers)
    removed = take_removed(folded)
    for key in _URLS:
        _resolve_url(key, folded, environ)
    settings = parse_model(Settings, folded.data, folded.origin)
    # if the deadlines were not in order, a node would be declared lost before it is suspect or unreachable
    steps = ("beat", "ask", "suspect", "unreachable", "lost")
    values = [getattr(settings.timing, step) for step in steps]
    for (earlier, low), (later, high) in zip(
        list(zip(steps, values, strict=True))[:-1], list(zip(steps, values, strict=True))[1:], strict=True
    ):
        if low >= high:
            place = folded.origin(f"timing.{later}")
            raise ConfigError(
                f"{place}: timing.{later} must be longer than timing.{earlier}",
                why=f"{high} ms is not more than {low} ms",
                fix=f"correct timing.{earlier} or timing.{later}",
            )
    return folded, settings, removed


def _idle_files(settings: Settings, folded: Folded) -> list[str]:
    """Return a warning for each setting, such as a password file, of a server whose URL is not set."""
    sentences = []
    for key in _URLS:
        group = getattr(settings, key.partition(".")[0])
        if group.url is None:
            beside = [path for path, value in _list_leaves(group, key.partition(".")[0]) if value is not None]
            sentences += [
                f"{folded.origin(path)}: {path} is not used, because {key} is not set" for path in beside
            ]
    return sentences


def _list_outranked(values: Mapping[str, object], preset: Preset | None) -> dict[str, str]:
    """Return a sentence for each key that both a variable and a preset set to different values."""
    sets = preset.settings() if preset is not None else {}
    return {
        key: f"{_VARIABLE_OF[key]} is ignored, because preset {preset.name} sets {sets[key]}"
        for key, value in values.items()
        if preset is not None and key in sets and key in _VARIABLE_OF and value != sets[key]
    }


def _resolve_url(key: str, folded: Folded, environ: Mapping[str, str]) -> None:
    """Fill in the secrets that a URL refers to as ${VARIABLE}; ConfigError for a literal password."""
    group = folded.data.get(key.partition(".")[0])
    url = group.get("url") if isinstance(group, dict) else None
    if not isinstance(group, dict) or not isinstance(url, str):
        return
    place = folded.origin(key)
    if ":" in place and any(not _REFERENCE.fullmatch(password) for password in find_passwords(url)):
        raise ConfigError(
            f"{place}: {key} contains a password",
            why="configuration files must not contain secrets, only references to them",
            fix=f"write {_URLS[key]} and set that variable, or set {_VARIABLE_OF[key]}",
        )
    group["url"] = _REFERENCE.sub(lambda m: _expand_variable(m[1], environ, f"{place}: {key}"), url)


def _expand_variable(name: str, environ: Mapping[str, str], place: str) -> str:
    if not environ.get(name):
        raise ConfigError(f"{place} uses ${{{name}}}, which is not set", fix=f"export {name}=...")
    return environ[name]


def setting_keys() -> list[str]:
    """Return the key of every setting."""
    return [path for path, _ in _list_leaves(Settings())]


def _list_leaves(part: BaseModel, path: str = "") -> Iterator[tuple[str, object]]:
    return ((below, value) for below, value, _ in _list_fields(part, path))


def _list_fields(part: BaseModel, path: str = "") -> Iterator[tuple[str, object, FieldInfo]]:
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        key = info.alias or name
        below = f"{path}.{key}" if path else key
        if below == BY_NAME and value:
            yield from ((f"{below}.{one}", value[one], info) for one in value)
        elif isinstance(value, BaseModel):
            yield from _list_fields(value, below)
        else:
            yield below, value, info
