"""Shows a setting's value as its owner would write it into a file (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from pancode.config.secrets import shown
from pancode.config.values import duration_ms, size_bytes

_DURATIONS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))


def written(value: object, field: FieldInfo) -> str:
    """`1h30m`, `64MiB`, `null`, `[a, b]`: a file takes it as it stands. Passwords in it are not shown."""
    return shown(whole(value, field))


def whole(value: object, field: FieldInfo) -> str:
    """The same with its passwords: for a comparison, never for an output."""
    reads = {mark.func for mark in _marks(field) if isinstance(mark, BeforeValidator)}
    if isinstance(value, int) and duration_ms in reads:
        return duration(value)
    if isinstance(value, int) and size_bytes in reads:
        return size(value)
    return _yaml(_plain(value))


def duration(ms: int) -> str:
    """A duration in as few units as give it exactly."""
    text = ""
    for unit, length in _DURATIONS:
        count, ms = divmod(ms, length)
        text += f"{count}{unit}" if count else ""
    return text or "0ms"


def size(count: int) -> str:
    """In the first unit that says it exactly."""
    for unit, length in _SIZES:
        if count and count % length == 0:
            return f"{count // length}{unit}"
    return f"{count}B"


def _marks(field: FieldInfo) -> Iterator[object]:
    yield from field.metadata
    yield from _marks_in(field.annotation)


def _marks_in(hint: Any) -> Iterator[object]:
    """Those of `X | None`, too."""
    if get_origin(hint) is Annotated:
        yield from get_args(hint)[1:]
    for part in get_args(hint):
        yield from _marks_in(part)


def _plain(value: object) -> object:
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
            return [_plain(one) for one in value]
        case BaseModel():
            return _plain(value.model_dump())
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
    return value


def _yaml(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").rstrip("\n")
