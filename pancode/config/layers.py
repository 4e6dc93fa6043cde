"""Merges layers of settings, later ones overriding earlier ones, and records each value's origin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pancode.config.schema import OWN_OF_PROJECT, PROJECT_KEYS
from pancode.config.units import SecretShownError
from pancode.config.variables import BUILT_IN, REMOVED_VARIABLES, VARIABLES
from pancode.kernel.documents import Document
from pancode.kernel.errors import ConfigError
from pancode.kernel.formatting import count_noun, mask_passwords
from pancode.kernel.names import find_nearest

Words = tuple[str, str]
"""The reason why a value is wrong, and the fix."""
_FORMS = {
    r"^[a-z0-9][a-z0-9_-]{0,63}$": "it must be a name of at most 64 lowercase letters, digits, - and _",
    r"^[A-Za-z_][A-Za-z0-9_]{0,127}$": "it must be the name of a variable: letters, digits and _",
    r"^(redis|rediss|unix)://": "it must be an address that starts with redis://, rediss:// or unix://",
    r"^.+:[0-9]{1,5}$": "it must be an address of this machine and a port, as in 10.0.0.5:7843",
}
_KINDS = {
    "bool": "true or false is expected",
    "int": "a whole number is expected",
    "float": "a number is expected",
    "decimal": "a number is expected",
    "is": "a number is expected",
    "finite": "a number is expected",
    "string": "it must be a string; put it in quotes if it looks like a number or like yes or no",
    "dict": "it must contain keys with values",
    "mapping": "it must contain keys with values",
}
"""What is expected, by the first part of Pydantic's error type."""


def words_of(error: ErrorDetails, path: str, known: list[str]) -> Words:
    """Return why the value is wrong, and the fix. `known`: the valid keys, if a group of keys is expected."""
    key, value = path.rpartition(".")[2], error["input"]
    match error["type"]:
        case "tuple_type" | "list_type" if isinstance(value, str):
            return "it must be a list", f"write {key}: {[part.strip() for part in value.split('&&')]}"
        case "tuple_type" | "list_type":
            # The fix is itself valid: YAML reads an unquoted true, no or 3 as another type than a string.
            items = list(value.values()) if isinstance(value, Mapping) else [value]
            texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in items]
            if key.isdigit():  # an item of a list of commands
                return _KINDS["string"], f"correct {path}: write {json.dumps(' '.join(texts))}"
            is_group = isinstance(value, Mapping) and path not in OWN_OF_PROJECT
            return "it must be a list", f"write {key}: {json.dumps([value] if is_group else texts)}"
        case "model_type" | "model_attributes_type":
            return "it must contain keys with values", f"valid keys: {', '.join(known)}"
        case _ if value is None:
            return f"there is no value after {key}:", f"correct {path}: add a value, or remove {key}"
        case "enum" | "literal_error":
            return _explain_choice(value, path, error["ctx"])
        case "value_error":
            why, _, fix = error["msg"].removeprefix("Value error, ").partition(". Fix: ")
            return why, fix or f"correct {path}"
    return _format_bounds(error["type"], error.get("ctx", {})) or error["msg"], f"correct {path}"


def _explain_choice(value: object, path: str, about: Mapping[str, Any]) -> Words:
    words = [word.strip().strip("'") for word in str(about["expected"]).replace(" or ", ", ").split(",")]
    near = find_nearest(str(value), words)
    listed = f"there are {', '.join(words)}"
    if near is None:
        return listed, f"correct {path}: write one of them"
    return f"did you mean {near}? {listed}", f"write {path.rpartition('.')[2]}: {near}"


def _format_bounds(kind: str, about: Mapping[str, Any]) -> str:
    """Describe the limits of a number or text; empty if this type of error has no description."""
    match kind:
        case "greater_than":
            return f"it must be more than {about['gt']}"
        case "greater_than_equal":
            return f"it must be {about['ge']} or more"
        case "less_than_equal":
            return f"it must be {about['le']} or less"
        case "string_pattern_mismatch":
            return _FORMS.get(str(about["pattern"]), f"it must be of the form {about['pattern']}")
        case "too_short" | "string_too_short":
            return "it must not be empty"
        case "decimal_max_places":
            return f"at most {about['decimal_places']} decimal places are allowed"
    return _KINDS.get(kind.partition("_")[0], "")


CHOSEN = "settings.json"
"""The file in the home that `pancode config set` writes."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Nested values with their origins."""

    data: Mapping[str, object]
    document: Document | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    """The origin by path, for layers that are not a file."""

    def origin(self, path: str) -> str:
        if self.document is not None:
            return self.document.at(path)
        return self.named.get(path, "")

    def items(self, path: str) -> dict[str, str]:
        """Return the origins of the items of a list, or of another value that is not a mapping."""
        lines = self.document.lines if self.document is not None else {}
        return {below: self.origin(below) for below in lines if below.startswith(path + ".")}


@dataclass(slots=True)
class Folded:
    """All layers merged. `origins` has every value set by a layer; the others are built in."""

    data: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def origin(self, path: str) -> str:
        """Return the origin of `path`, or else of the nearest group around it, for error messages."""
        while path and path not in self.origins:
            path = path.rpartition(".")[0]
        return self.origins.get(path, BUILT_IN)


def fold_layers(layers: list[Layer]) -> Folded:
    """Merge the layers in order: mappings key by key; any other value replaces the earlier one."""
    folded = Folded()
    for layer in layers:
        _fold_into(folded.data, layer.data, "", folded.origins, layer)
    return folded


def _fold_into(
    into: dict[str, object], data: Mapping[str, object], path: str, origins: dict[str, str], layer: Layer
) -> None:
    for key, value in data.items():
        below = f"{path}.{key}" if path else key
        there = into.get(key)
        if isinstance(value, Mapping):
            merged = dict(there) if isinstance(there, Mapping) else {}
            _fold_into(merged, value, below, origins, layer)
            into[key] = merged
        else:
            into[key] = value
            for inner in [known for known in origins if known.startswith(below + ".")]:
                del origins[inner]
            origins.update(layer.items(below))
        origins[below] = layer.origin(below)


def file_layer(document: Document) -> Layer:
    """Return the layer of a settings file of the machine or the user."""
    return Layer(document.data, document)


def project_layer(document: Document) -> Layer:
    """Return the layer of the repository's pancode.yaml; ConfigError for a key reserved for the owner."""
    for path in _list_leaves(document.data):
        if not any(path == key or path.startswith(key + ".") for key in PROJECT_KEYS):
            raise ConfigError(
                f"{document.at(path)}: a repository may not set {path}",
                why=(
                    f"a repository may set only {', '.join(PROJECT_KEYS)}; everything else belongs in "
                    "your own settings"
                ),
                fix=_where_it_may_stand(path),
            )
    return Layer(document.data, document)


def _where_it_may_stand(path: str) -> str:
    near = find_nearest(path, PROJECT_KEYS)
    if near is not None:
        return f"did you mean {near}?"
    if (tail := path.rpartition(".")[2]) in PROJECT_KEYS:
        return f"write {tail}: at the beginning of its line, not inside another key"
    return "move it to pancode.yaml in your PANCODE_HOME, or check the key's spelling"


def _list_leaves(data: Mapping[str, object], path: str = "") -> list[str]:
    found: list[str] = []
    for key, value in data.items():
        below = f"{path}.{key}" if path else key
        whole = below in OWN_OF_PROJECT or not isinstance(value, Mapping)
        found += [below] if whole else _list_leaves(value, below) or [below]  # type: ignore[arg-type]
    return found


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Return the layer of the PANCODE_ variables that are not empty. ConfigError for an invalid value."""
    data: dict[str, object] = {}
    named: dict[str, str] = {}
    for name, (path, make) in VARIABLES.items():
        text = environ.get(name, "").strip()
        if not text:
            continue
        try:
            _put(data, path, make(text))
        except ValueError as exc:
            raise ConfigError(
                f"{name}={text!r} is not a valid value for {path}", why=str(exc), fix=f"unset {name}"
            ) from exc
        named[path] = name
    for name, path in REMOVED_VARIABLES.items():
        if text := environ.get(name, "").strip():
            _put(data, path, text)
            named[path] = name
    return Layer(data, named=named)


def layer_of(values: Mapping[str, object], origin: str) -> Layer:
    """Return a layer of values by dotted path, all with one origin."""
    data: dict[str, object] = {}
    for path, value in values.items():
        _put(data, path, value)
    return Layer(data, named=dict.fromkeys(values, origin))


def _put(data: dict[str, object], path: str, value: object) -> None:
    *groups, key = path.split(".")
    for group in groups:
        inner = data.setdefault(group, {})
        assert isinstance(inner, dict)
        data = inner
    data[key] = value


M = TypeVar("M", bound=BaseModel)


def parse_model(kind: type[M], data: Mapping[str, object], origin: Callable[[str], str]) -> M:
    """Return the model. Raises ConfigError for the first error; its `why` has the number of other errors."""

    def line(error: ErrorDetails) -> int:
        """Return the line number in the error's origin, such as `/home/me/pancode.yaml:4`; 0 if none."""
        last = origin(_path_of(error)).rpartition(":")[2]
        return int(last) if last.isdigit() else 0

    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        errors = sorted(exc.errors(include_url=False), key=line)
        others = f"; {count_noun(len(errors) - 1, 'more problem')} after this one" if len(errors) > 1 else ""
        raise _config_error(kind, errors[0], origin, others) from exc


def find_problems(
    kind: type[M], data: Mapping[str, object], origin: Callable[[str], str]
) -> tuple[M | None, list[ConfigError]]:
    """Return the model, or None with all its errors."""
    try:
        return kind.model_validate(data), []
    except ValidationError as exc:
        return None, [_config_error(kind, error, origin) for error in exc.errors(include_url=False)]


def _config_error(
    kind: type[BaseModel], error: ErrorDetails, origin: Callable[[str], str], others: str = ""
) -> ConfigError:
    path = _path_of(error)
    place = origin(path)
    if error["type"] == "extra_forbidden":
        group, key = path.rpartition(".")[0], str(error["loc"][-1])
        known = _list_keys(kind, error["loc"][:-1])
        fix = _explain_group(kind, key) if not group else ""
        near = find_nearest(key, known)
        fix = fix or (f"did you mean {near}?" if near else f"valid keys: {', '.join(known)}")
        return ConfigError(
            f"{place}: unknown key {path}", why=f"{group or 'the file'} has no {key}{others}", fix=fix
        )
    hidden = isinstance(error["input"], dict | list | tuple) or _is_secret(error)
    shown = "" if hidden else f" {_mask_value(error['input'])!r}"
    reason, fix = words_of(error, path, _list_keys(kind, (*error["loc"], "")))
    if place.rpartition(":")[0].endswith(f"/{CHOSEN}"):
        fix = f"pancode config unset {path}"
    if place.startswith("PANCODE_"):  # the origin is a variable, not a line of a file
        fix = f"correct the variable {place}, or: unset {place}"
    return ConfigError(f"{place}: {path}:{shown} is not valid", why=f"{reason}{others}", fix=fix)


def _path_of(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"] if not _is_branch(part))


def _explain_group(kind: type[BaseModel], key: str) -> str:
    """Return a hint about the group of a misplaced key, as when only the key's own `#` was removed."""
    groups = [
        name
        for name in _list_keys(kind, ())
        if key in _list_keys(kind, (name,)) and key not in _list_keys(kind, ())
    ]
    if not groups:
        return ""
    return (
        f"write the key under {' or '.join(f'`{name}:`' for name in groups)}, indented, without # in front "
        "of that line"
    )


def _is_secret(error: ErrorDetails) -> bool:
    return isinstance(error.get("ctx", {}).get("error"), SecretShownError)


def _mask_value(value: object) -> object:
    return mask_passwords(value) if isinstance(value, str) else value


def _is_branch(part: object) -> bool:
    """Whether the part names a branch of a union, which Pydantic adds to the path."""
    return isinstance(part, str) and ("[" in part or part in ("constrained-str", "none"))


def _list_keys(kind: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """Return the keys of the group at `loc`."""
    for part in loc:
        field = kind.model_fields.get(part) if isinstance(part, str) else None
        inner = [] if field is None else [field.annotation, *get_args(field.annotation)]
        below = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
        kind = below or kind
    return sorted(field.alias or name for name, field in kind.model_fields.items())
