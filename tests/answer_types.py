"""Checks JSON against the type that its route promises: strictly, so that no key is there without a type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict


def misfits(value: Any, hint: Any, where: str = "") -> Iterator[str]:
    """What of the value is not of that type, each with its place."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return
    if origin in (Required, NotRequired):
        yield from misfits(value, inner[0], where)
    elif origin in (Union, UnionType):
        yield from _in_any(value, inner, where)
    elif origin is Literal:
        yield from [] if value in inner else [f"{where}: {value!r} is not one of {inner}"]
    elif is_typeddict(hint) or is_dataclass(hint):
        yield from _in_object(value, hint, where)
    elif origin in (list, dict, tuple, Mapping):
        yield from _in_many(
            value, dict if origin in (dict, Mapping) else list, inner[0 if origin is tuple else -1], where
        )
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield from (
            [] if value in {one.value for one in hint} else [f"{where}: {value!r} is not of {hint.__name__}"]
        )
    elif hint is Decimal:
        yield from misfits(value, str, where)
    else:
        kinds = (int, float) if hint is float else (NoneType if hint is None else hint,)
        yield from [] if type(value) in kinds else [f"{where}: {value!r} is not {kinds[-1].__name__}"]


def _in_any(value: Any, arms: tuple[Any, ...], where: str) -> Iterator[str]:
    found = [list(misfits(value, arm, where)) for arm in arms if arm is not NoneType or value is None]
    yield from min(found, key=len)


def _in_many(value: Any, kind: type, inner: Any, where: str) -> Iterator[str]:
    if not isinstance(value, kind):
        yield f"{where}: {value!r} is not a {kind.__name__}"
        return
    many: Any = value
    rows = many.items() if kind is dict else enumerate(many)
    for name, one in rows:
        yield from misfits(one, inner, f"{where}.{name}")


def _in_object(value: Any, shape: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is not an object"
        return
    hints = get_type_hints(shape, include_extras=True)
    for name, hint in hints.items():
        if name in value:
            yield from misfits(value[name], hint, f"{where}.{name}")
        elif get_origin(hint) is not NotRequired and getattr(shape, "__total__", True):
            yield f"{where}.{name} is missing"
    yield from (f"{where}.{name} has no type: {value[name]!r}" for name in value.keys() - hints.keys())
