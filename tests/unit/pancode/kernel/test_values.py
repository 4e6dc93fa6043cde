"""A copy with changes is what `dataclasses.replace` makes of it, for every record and at every field."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from typing import Any

import pytest

from pancode.app.schema import SCHEMA
from pancode.kernel.records import Record
from pancode.kernel.values import make_value, replace


@dataclass(frozen=True, slots=True)
class _One:
    only: int = 1


@dataclass(frozen=True, slots=True)
class _Checked:
    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("below 0")


@pytest.mark.parametrize("kind", SCHEMA.tables, ids=lambda kind: kind.__name__)
def test_a_copy_is_that_of_the_standard_library(kind: type[Record]) -> None:
    record: Any = kind(**{one.name: number for number, one in enumerate(fields(kind))})  # type: ignore[arg-type]
    for field in fields(kind):  # type: ignore[arg-type]
        changed = replace(record, **{field.name: "new"})
        assert changed == dataclasses.replace(record, **{field.name: "new"})
        assert type(changed) is kind and changed is not record
    assert replace(record) == record
    assert make_value(kind, list(range(len(fields(kind))))) == record  # type: ignore[arg-type]


def test_what_it_was_made_of_stays_as_it_was() -> None:
    before = _One()
    assert replace(before, only=2) == _One(2)
    assert before == _One(1)


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match="_One"):
        replace(_One(), **{"other": 1})


def test_too_few_values_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        make_value(_One, [])


def test_a_class_that_checks_itself_is_refused() -> None:
    with pytest.raises(TypeError, match="validates itself"):
        replace(_Checked(1), count=-1)


def test_the_copy_is_frozen_too() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        replace(_One(), only=2).only = 3  # type: ignore[misc]
