"""The JSON of a dataclass is read back as it was, also by another version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import pytest
from typing_extensions import TypedDict

from pancode.kernel.declared import from_json, make_answer, to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    usd: Decimal | None = None
    colours: tuple[Colour, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner | None = None
    many: Mapping[str, Inner] | None = None
    pairs: tuple[tuple[str, str], ...] = ()
    count: int = 3


def test_what_is_written_is_read_back() -> None:
    inner = Inner(Decimal("0.10"), (Colour.RED,))
    for one in (Outer("a"), Outer("b", inner, {"x": inner, "y": Inner()}, (("k", "v"),), 0)):
        read = from_json(Outer, json.loads(json.dumps(to_json(one))))
        assert read == one and type(read.pairs) is tuple
    assert to_json(inner) == {"usd": "0.10", "colours": ["red"]}


def test_another_version_may_have_other_keys() -> None:
    assert from_json(Outer, {"name": "a", "of a later version": 1}) == Outer("a")


class Shown(TypedDict):
    usd: str
    name: str
    began_at: str | None
    ended_at: str | None
    by: str


@dataclass(frozen=True, slots=True)
class Row:
    usd: Decimal = Decimal("0.10")
    name: Colour = Colour.RED
    began_ms: int = 1_500
    ended_ms: int | None = None


def test_an_answer_has_the_keys_of_its_row_and_what_is_given_in_its_own_order() -> None:
    shown = make_answer(Shown, Row(), by="ana")
    assert list(shown.items()) == [
        ("usd", "0.10"),
        ("name", "red"),
        ("began_at", "1970-01-01T00:00:01.500Z"),
        ("ended_at", None),
        ("by", "ana"),
    ]
    assert make_answer(Shown, Row(), by="ana", name="blue")["name"] == "blue"
    with pytest.raises(AttributeError, match="by"):
        make_answer(Shown, Row())
    with pytest.raises(TypeError, match="Shown has no bye"):
        make_answer(Shown, Row(), by="ana", bye="x")
