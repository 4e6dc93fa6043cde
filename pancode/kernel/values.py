"""Copies frozen values, like `dataclasses.replace` but fast for many fields; also computes exact sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import MAX_EMAX, MIN_EMIN, Context
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

EXACT = Context(prec=200, Emin=MIN_EMIN, Emax=MAX_EMAX)
"""A context for exact sums. Decimal's default context rounds at 28 digits, so large sums would not match
their entries."""

T = TypeVar("T")
_Put = Callable[[Any, Any], None]


if TYPE_CHECKING:
    # type checkers use the original function, because they know its fields
    from dataclasses import replace as replace
else:

    def replace(value: Any, /, **changes: object) -> Any:
        """Copy a dataclass that has slots and validates nothing on creation. TypeError for unknown fields."""
        kind = type(value)
        get, puts, by_name = _make_accessors(kind)
        copy = kind.__new__(kind)
        for put, current in zip(puts, get(value), strict=True):
            put(copy, current)
        for name, new in changes.items():
            if name not in by_name:
                raise TypeError(f"{kind.__name__} has no field {name}")
            by_name[name](copy, new)
        return copy


def take_shared(value: Any, kind: Any) -> dict[str, Any]:
    """Return what an object has of the fields of this class, by name."""
    return {one.name: getattr(value, one.name) for one in fields(kind) if hasattr(value, one.name)}


def make_value(kind: type[T], values: tuple[Any, ...] | list[Any]) -> T:
    """Make a value of this class from all its fields, in their order."""
    fresh: Any = kind
    out: T = fresh.__new__(kind)
    for put, content in zip(_make_accessors(fresh)[1], values, strict=True):
        put(out, content)
    return out


@cache
def _make_accessors(
    kind: Any,
) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[_Put, ...], Mapping[str, _Put]]:
    """Return a reader of all fields, and a setter for each field that also works on a frozen object."""
    if hasattr(kind, "__post_init__"):
        raise TypeError(f"{kind.__name__} validates itself on creation: use dataclasses.replace")
    names = tuple(field.name for field in fields(kind))
    puts = {name: getattr(kind, name).__set__ for name in names}
    read = attrgetter(*names)
    return (read if len(names) > 1 else lambda value: (read(value),)), tuple(puts.values()), puts
