"""Reads all layers of the settings: machine, user, project, environment, flags; the later wins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from pancode.config.checked import checked
from pancode.config.documents import read_document
from pancode.config.layers import (
    BUILT_IN,
    Folded,
    environment_layer,
    file_layer,
    flags_layer,
    fold,
    project_layer,
)
from pancode.config.schema import Settings
from pancode.config.variables import odd_variables
from pancode.errors import ConfigError

MACHINE_FILE = Path("/etc/pancode/pancode.yaml")
FILE = "pancode.yaml"
_PASSWORD = re.compile(r"(//[^:/@]*:)([^@/]+)@")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, where each comes from, and what looks odd but is no error."""

    settings: Settings
    folded: Folded
    warnings: tuple[str, ...] = ()

    def origin(self, path: str) -> str:
        """`built-in`, `file:line`, a variable's name, or `command line`."""
        return self.folded.origins.get(path, BUILT_IN)

    def rows(self) -> list[tuple[str, str, str]]:
        """(path, value as text, origin) of every setting; a password in a URL is not shown."""
        return [(path, _shown(value), self.origin(path)) for path, value in _leaves(self.settings)]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files are. `project`: top of the repository, None outside of one."""

    home: Path
    project: Path | None = None
    machine: Path = MACHINE_FILE


def load(places: Places, environ: Mapping[str, str], flags: Mapping[str, object] | None = None) -> Loaded:
    """All layers as one; ConfigError names the file and line, variable or flag that is wrong."""
    layers = [
        file_layer(d) for d in map(read_document, (places.machine, places.home / FILE)) if d is not None
    ]
    project = read_document(places.project / FILE) if places.project is not None else None
    if project is not None:
        layers.append(project_layer(project))
    layers += [environment_layer(environ), flags_layer(flags or {})]
    folded = fold(layers)
    _resolve_url(folded, environ)
    settings = checked(Settings, folded.data, folded.origin)
    _check_order(settings, folded)
    return Loaded(settings, folded, tuple(odd_variables(environ)))


def _resolve_url(folded: Folded, environ: Mapping[str, str]) -> None:
    """A URL in a file names its secrets as ${VARIABLE}; a password in the file itself is refused."""
    redis = folded.data.get("redis")
    url = redis.get("url") if isinstance(redis, dict) else None
    if not isinstance(redis, dict) or not isinstance(url, str):
        return
    place = folded.origin("redis.url")
    password = _PASSWORD.search(url)
    if password and ":" in place and not _REFERENCE.fullmatch(password[2]):
        raise ConfigError(
            f"{place}: redis.url holds a password",
            why="secrets are never kept in a configuration file, only named",
            fix="write redis://:${REDIS_PASSWORD}@host:6379 and set that variable, or set PANCODE_REDIS_URL",
        )
    redis["url"] = _REFERENCE.sub(lambda m: _variable(m[1], environ, place), url)


def _variable(name: str, environ: Mapping[str, str], place: str) -> str:
    if not environ.get(name):
        raise ConfigError(f"{place}: redis.url names ${{{name}}}, which is not set", fix=f"export {name}=...")
    return environ[name]


def _check_order(settings: Settings, folded: Folded) -> None:
    """Silence grows from suspect over unreachable to lost; anything else would call a node lost first."""
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


def _leaves(part: BaseModel, path: str = "") -> Iterator[tuple[str, object]]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        below = f"{path}.{name}" if path else name
        if isinstance(value, BaseModel):
            yield from _leaves(value, below)
        else:
            yield below, value


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {below}" for key, below in value.items()) or "none"
    return _PASSWORD.sub(r"\1***@", str(value)) if isinstance(value, str) else str(value)
