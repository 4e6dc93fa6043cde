"""The check of answers sees what is missing, what has no type, and what is of another type."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

import pytest
from typing_extensions import TypedDict

from tests.answer_types import misfits


class Inner(TypedDict):
    name: str
    size: NotRequired[int]


class Outer(Inner):
    """As an answer is."""

    rows: list[Inner]
    by: dict[str, float]
    word: Literal["a", "b"] | None
    other: Inner | str


GOOD: dict[str, Any] = {
    "name": "x",
    "rows": [{"name": "y", "size": 1}],
    "by": {"k": 1},
    "word": None,
    "other": "z",
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"word": "a", "other": {"name": "q"}, "size": 2}, []),
        ({"word": "c"}, [".word: 'c' is not one of ('a', 'b')"]),
        ({"rows": [{"size": 1}]}, [".rows.0.name is missing"]),
        ({"rows": [{"name": "y", "more": 1}]}, [".rows.0.more has no type: 1"]),
        ({"rows": {}}, [".rows: {} is not a list"]),
        ({"by": {"k": "1"}}, [".by.k: '1' is not float"]),
        ({"size": True}, [".size: True is not int"]),
        ({"name": None}, [".name: None is not str"]),
        ({"other": {"name": 1}}, [".other.name: 1 is not str"]),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(change: dict[str, Any], told: list[str]) -> None:
    assert list(misfits({**GOOD, **change}, Outer)) == told


def test_a_key_that_must_be_there_is_missed() -> None:
    assert list(misfits({}, Inner)) == [".name is missing"]
