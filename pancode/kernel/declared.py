"""Values of a thing, each declared once as a field of a frozen dataclass: all interfaces derive from it.

Standard library only, so that a command starts without loading pydantic. Each interface looks up the name of
a value's type, such as `Money`, in its own table of types or parsers; the type checker sees the type itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache, partial
from types import NoneType
from typing import Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from pancode.kernel.formatting import format_optional_iso

Name: TypeAlias = str
Money: TypeAlias = Decimal
"""USD."""
Count: TypeAlias = int
Duration: TypeAlias = int
"""Milliseconds."""
Size: TypeAlias = int
"""Bytes."""
Gpus: TypeAlias = str
"""A whole number, or `all`; 0: reserve none, although a default asks for some."""
Labels: TypeAlias = Mapping[str, str]
Commands: TypeAlias = tuple[str, ...]

MOST_MS, MOST_BYTES = 365 * 86_400_000, 2**50
"""The longest duration in milliseconds, and the largest size in bytes, that a user may give."""
_BOUNDS = {"Count": (1, 10**9), "Duration": (1, MOST_MS), "Size": (1, MOST_BYTES)}
_SPOKEN = {MOST_MS: "365d", MOST_BYTES: "1048576GiB"}


@dataclass(frozen=True, slots=True)
class Value:
    """The declaration of one value."""

    name: str
    """The value's key in the API, in an answer, and in a settings file."""
    kind: str
    """The name of the value's type."""
    default: Any
    help: str = ""
    """The help of its option; empty: the command line has no option for it."""
    value: str = ""
    """The placeholder for the option's value in the help."""
    example: str = ""
    """An example of a value, as it is typed."""
    flags: tuple[str, ...] = ()
    """The option's names on the command line; empty: derived from `key`."""
    key: str = ""
    """The name of its option and its key in workflow files, if it differs from the name."""
    least: int | None = None
    most: int | None = None
    words: tuple[str, ...] = ()
    """The only allowed values; empty: any."""
    complete: str = ""
    """The function of `interfaces/cli/completions.py` that completes the option's value."""
    setting: str = ""
    """The key of the setting that the value overrides."""

    @property
    def word(self) -> str:
        """Return the option's name in workflow files, also its parameter name on the command line."""
        return self.key or self.name

    @property
    def flag(self) -> str:
        return self.flags[0] if self.flags else f"--{self.word.replace('_', '-')}"

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Return the lowest and the highest allowed number; None: the value is not a number."""
        if self.kind not in _BOUNDS:
            return None
        least, most = _BOUNDS[self.kind]
        return least if self.least is None else self.least, most if self.most is None else self.most

    @property
    def most_spoken(self) -> str:
        """Return the highest allowed number, as a user would write it."""
        most = self.bounds[1] if self.bounds is not None else 0
        return _SPOKEN.get(most, f"{most}")


T = TypeVar("T")
V = TypeVar("V", bound=Value)


def value(help: str = "", placeholder: str = "", *, default: object = None, **more: Any) -> Any:
    """Return a field with the metadata of a `Value`."""
    about = {"default": default, "help": help, "value": placeholder, **more}
    filled = {"default_factory": dict} if default == {} else {"default": default}
    return field(metadata={"value": about}, **filled)


def values_of(declared: Any, made: type[V]) -> Mapping[str, V]:
    """Return the declared values of a dataclass by name, in their order."""
    return {
        one.name: made(one.name, str(one.type).partition(" ")[0], **one.metadata["value"])
        for one in fields(declared)
        if one.metadata
    }


def to_json(one: Any) -> Any:
    """Return a value as JSON: a dataclass as an object, money and words of an enumeration as text."""
    kind: Any = type(one)
    if kind in _PLAIN:
        return one
    if names := names_of(kind):
        # most fields are plain, and a list of runs has many: a call for each of them would double the cost
        given = ((name, getattr(one, name)) for name in names)
        return {name: each if type(each) in _PLAIN else to_json(each) for name, each in given}
    if isinstance(one, Mapping):
        return {key: to_json(each) for key, each in one.items()}
    if isinstance(one, tuple | list):
        return [to_json(each) for each in one]
    return f"{one:f}" if isinstance(one, Decimal) else one.value if isinstance(one, Enum) else one


_PLAIN = frozenset((str, int, float, bool, NoneType))


@cache
def names_of(kind: Any) -> tuple[str, ...]:
    """Return the names of a dataclass's fields; of another type none."""
    return tuple(one.name for one in fields(kind)) if is_dataclass(kind) else ()


def from_json(kind: type[T], data: Mapping[str, Any]) -> T:
    """Return the value of a dataclass from its JSON. A key that the class lacks is skipped, and one that the
    JSON lacks has its default, since the two may be of different versions."""
    make: Callable[..., T] = kind
    read = _find_readers(make)
    return make(**{name: read[name](data[name]) for name in data if name in read})


@cache
def _find_readers(kind: Any) -> Mapping[str, Callable[[Any], Any]]:
    hints = get_type_hints(kind)
    return {one.name: make_reader(hints[one.name]) for one in fields(kind)}


def make_reader(hint: Any) -> Callable[[Any], Any]:
    """Return a function that makes a value of this type from JSON."""
    kind, inner = get_origin(hint) or hint, [one for one in get_args(hint) if one is not NoneType]
    if NoneType in get_args(hint):
        read = make_reader(inner[0])
        return lambda given: None if given is None else read(given)
    if kind is tuple:
        each = make_reader(inner[0])
        return lambda given: tuple(map(each, given))
    if kind is Mapping:
        each = make_reader(inner[1])
        return lambda given: {key: each(one) for key, one in given.items()}
    if is_dataclass(kind):
        return partial(from_json, hint)
    return kind if isinstance(kind, type) and issubclass(kind, Decimal | Enum) else lambda given: given


def make_answer(kind: Callable[..., T], row: Any, /, **others: object) -> T:
    """Return an answer: `others`, and each other key from the row, whose time `x_ms` is `x_at` in ISO 8601.
    AttributeError for a key that the row lacks, TypeError for one that the answer lacks."""
    make: Any = kind
    sources = find_sources(make, row.__class__)
    if wrong := others.keys() - sources:
        raise TypeError(f"{make.__name__} has no {', '.join(wrong)}")
    return kind(
        **{
            key: others[key] if key in others else read(getattr(row, name))
            for key, (name, read) in sources.items()
        }
    )


@cache
def find_sources(kind: Any, row: type) -> Mapping[str, tuple[str, Callable[[Any], Any]]]:
    """Return, for each key of an answer, the name of the row's field and the function that formats it."""
    known = {*dir(row), *getattr(row, "model_fields", ())}
    return {
        key: (key, to_json) if key in known else (f"{key.removesuffix('_at')}_ms", format_optional_iso)
        for key in kind.__annotations__
    }


def leave_out_unset(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without those that are not set, as a settings file stores them."""
    return {key: each for key, each in values.items() if each not in (None, "", {}, [], False)}
