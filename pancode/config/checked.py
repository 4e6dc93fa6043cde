"""Turns merged values into a frozen model; reports a wrong value with path, place, nearest name and fix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pancode.config.misfits import words_of
from pancode.config.secrets import SecretShownError, shown
from pancode.core.names import nearest
from pancode.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def checked(kind: type[M], data: Mapping[str, object], origin: Callable[[str], str]) -> M:
    """The model; ConfigError about the first thing that does not fit, the number of others in its `why`."""
    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        others = f"; {len(errors) - 1} more problems after this one" if len(errors) > 1 else ""
        raise _config_error(kind, errors[0], origin, others) from exc


def problems(
    kind: type[M], data: Mapping[str, object], origin: Callable[[str], str]
) -> tuple[M | None, list[ConfigError]]:
    """The model, or None with everything that does not fit."""
    try:
        return kind.model_validate(data), []
    except ValidationError as exc:
        return None, [_config_error(kind, error, origin) for error in exc.errors(include_url=False)]


def _config_error(
    kind: type[BaseModel], error: ErrorDetails, origin: Callable[[str], str], others: str = ""
) -> ConfigError:
    path = ".".join(str(part) for part in error["loc"] if not _is_branch(part))
    place = origin(path)
    if error["type"] == "extra_forbidden":
        group, key = path.rpartition(".")[0], str(error["loc"][-1])
        known = _keys(kind, error["loc"][:-1])
        fix = _below(kind, key) if not group else ""
        near = nearest(key, known)
        fix = fix or (f"did you mean {near}?" if near else f"known are {', '.join(known)}")
        return ConfigError(
            f"{place}: unknown key {path}", why=f"{group or 'the file'} has no {key}{others}", fix=fix
        )
    hidden = isinstance(error["input"], dict | list | tuple) or _is_secret(error)
    shown = "" if hidden else f" {_plain(error['input'])!r}"
    reason, fix = words_of(error, path, _keys(kind, (*error["loc"], "")))
    if place.startswith("PANCODE_"):  # a variable, and no line of a file
        fix = f"correct the variable {place}, or: unset {place}"
    return ConfigError(f"{place}: {path}:{shown} does not fit", why=f"{reason}{others}", fix=fix)


def _below(kind: type[BaseModel], key: str) -> str:
    """The group of a top-level key, as when `#` was removed from its line but not from its group's."""
    groups = [name for name in _keys(kind, ()) if key in _keys(kind, (name,)) and key not in _keys(kind, ())]
    if not groups:
        return ""
    return f"write it below {' or '.join(f'`{name}:`' for name in groups)}, indented; no # before that line"


def _is_secret(error: ErrorDetails) -> bool:
    return isinstance(error.get("ctx", {}).get("error"), SecretShownError)


def _plain(value: object) -> object:
    return shown(value) if isinstance(value, str) else value


def _is_branch(part: object) -> bool:
    """Pydantic names the branch of a union in the path; a person did not write it."""
    return isinstance(part, str) and ("[" in part or part in ("constrained-str", "none"))


def _keys(kind: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """The keys of the group at `loc`."""
    for part in loc:
        field = kind.model_fields.get(part) if isinstance(part, str) else None
        inner = [] if field is None else [field.annotation, *get_args(field.annotation)]
        below = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
        kind = below or kind
    return sorted(field.alias or name for name, field in kind.model_fields.items())
