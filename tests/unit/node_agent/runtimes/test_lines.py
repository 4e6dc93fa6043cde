"""A byte stream cut anywhere gives the same objects, and never more memory than the cap."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.runtimes.lines import JsonLines, count_of, text_of, total_of, usd_of
from node_agent.wire.model import MOST

OBJECTS = [{"a": 1}, {"text": "é\u2028 ünï"}, {"n": {"deep": [1, 2]}}]
STREAM = b"\n".join(
    [
        json.dumps(OBJECTS[0]).encode(),
        b"",
        b"not json",
        b"[1, 2]",
        b"\xff\xfe",
        json.dumps(OBJECTS[1]).encode(),
    ]
    + [b"  \t", json.dumps(OBJECTS[2]).encode()]
)


def read(chunks: list[bytes], cap: int = 1 << 20) -> tuple[list[dict], JsonLines]:
    lines = JsonLines(cap)
    out = [o for c in chunks for o in lines.feed(c)]
    return out + list(lines.end()), lines


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cutting_gives_the_same(cuts: list[int]) -> None:
    marks = [0, *sorted(cuts), len(STREAM)]
    out, lines = read([STREAM[a:b] for a, b in zip(marks, marks[1:], strict=False)])
    assert out == OBJECTS
    assert (lines.lines, lines.unreadable) == (6, 3)


@pytest.mark.parametrize("around", [b" %b", b"%b\t ", b"\x0b%b\r", b" \x0c%b"])
def test_blanks_around_a_line_are_no_part_of_it(around: bytes) -> None:
    out, lines = read([around % b'{"a": 1}' + b"\n"])
    assert (out, lines.unreadable) == ([{"a": 1}], 0)
    assert read([around % b'{"a": 1} 2' + b"\n"])[1].unreadable == 1


@given(st.binary(max_size=300), st.integers(1, 40))
def test_no_bytes_raise(data: bytes, size: int) -> None:
    read([data[i : i + size] for i in range(0, len(data), size)], cap=50)


def test_a_line_over_the_cap_is_dropped_whole_and_the_next_is_read() -> None:
    lines = JsonLines(cap=100)
    held = 0
    for _ in range(1000):
        assert list(lines.feed(b'{"x": "' + b"y" * 50)) == []
        held = max(held, len(lines._rest))
    assert held <= 200
    assert list(lines.feed(b'"}\n{"ok": 1}\n')) == [{"ok": 1}]
    assert (lines.lines, lines.unreadable) == (2, 1)


def test_deep_nesting_is_unreadable_not_an_error() -> None:
    out, lines = read([b'{"a":' * 100_000 + b"\n"])
    assert (out, lines.unreadable) == ([], 1)


@pytest.mark.parametrize(
    ("value", "usd"),
    [
        (Decimal("0.018930000000000002"), Decimal("0.01893")),
        (Decimal("0.04234200000000000499"), Decimal("0.042342")),
        (0, Decimal(0)),
        (100, Decimal(100)),
        ("1.5", Decimal("1.5")),
        (Decimal("1E+2"), Decimal(100)),
        (None, None),
        (True, None),
        (-1, None),
        (Decimal("NaN"), None),
        (Decimal("1E+99"), None),
        ("a lot", None),
        ([], None),
    ],
)
def test_dollars(value: object, usd: Decimal | None) -> None:
    assert usd_of(value) == usd


@pytest.mark.parametrize(
    ("value", "count"), [(3, 3), (-1, 0), (True, 0), (None, 0), ("3", 0), (Decimal(2), 0)]
)
def test_counts(value: object, count: int) -> None:
    assert count_of(value) == count


@pytest.mark.parametrize("value", [10**12 + 1, 10**4000, -1, True, 1.5, "1", None])
def test_what_is_no_count(value: object) -> None:
    assert count_of(value) == 0


def test_a_sum_stays_within_what_the_wire_carries() -> None:
    assert total_of(MOST, 10**12) == MOST
    assert total_of(2, 3) == 5


@pytest.mark.parametrize("value", [10**9 + 1, "1e999999999", "-1", "NaN", 10**4000])
def test_what_is_no_sum_of_money(value: object) -> None:
    assert usd_of(value) is None


def test_text_can_always_be_written_as_utf_8() -> None:
    said = json.loads('"torn \\ud83d emoji, whole \\ud83d\\ude00"')
    assert text_of(said) == "torn ? emoji, whole \U0001f600"
