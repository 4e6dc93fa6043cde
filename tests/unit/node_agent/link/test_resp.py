"""Answers of a Redis, however their bytes are cut; and what is no answer is never taken for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis._parsers.encoders import Encoder
from redis.connection import PythonRespSerializer

from node_agent.link.resp import LONGEST, Answers, Lost, Refused, packed

TEXTS = st.binary(max_size=40)
WORDS = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(), TEXTS)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(st.one_of(TEXTS, NUMBERS, st.none()), lambda one: st.lists(one, max_size=4))


def spoken(value: Any) -> bytes:
    """As a server says it."""
    match value:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % value
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(value), value)
        case _:
            return b"*%d\r\n" % len(value) + b"".join(map(spoken, value))


def heard(data: bytes, piece: int = 1 << 16) -> Answers:
    """Read in pieces of that size, and then the end."""

    def pieces() -> Iterator[bytes]:
        yield from (data[at : at + piece] for at in range(0, len(data), piece))
        while True:
            yield b""

    left = pieces()
    return Answers(lambda: next(left))


@given(st.lists(st.one_of(VALUES), min_size=1, max_size=4), st.integers(1, 9))
def test_answers_are_read_however_they_are_cut(values: list[Any], piece: int) -> None:
    answers = heard(b"".join(map(spoken, values)), piece)
    assert [answers.hear() for _ in values] == values
    assert not answers.pending()
    with pytest.raises(Lost, match="hung up"):
        answers.hear()


@given(st.lists(WORDS, min_size=1, max_size=6))
def test_commands_are_written_as_the_library_writes_them(words: list[str | int | bytes]) -> None:
    encode = Encoder("utf-8", "strict", False).encode
    theirs = PythonRespSerializer(6000, encode).pack("GET", *words)
    assert packed(("GET", *words)) == b"".join(theirs)


def test_a_status_an_error_and_a_missing_list() -> None:
    answers = heard(b"+OK\r\n-NOPERM not you\r\n*-1\r\n*2\r\n-ERR in a list\r\n:7\r\n")
    assert answers.hear() == b"OK" and answers.pending()
    refused = answers.hear()
    assert isinstance(refused, Refused) and str(refused) == "NOPERM not you" and not refused.is_login
    assert answers.hear() is None
    first, second = answers.hear()
    assert isinstance(first, Refused) and second == 7


@pytest.mark.parametrize("code", ["WRONGPASS", "NOAUTH"])
def test_a_login_that_is_refused_is_told_apart(code: str) -> None:
    assert Refused(f"{code} invalid username-password pair or user is disabled.").is_login


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak as Redis does"),
        (b":seven\r\n", "does not speak as Redis does"),
        (b"%1\r\n+a\r\n+b\r\n", "does not speak as Redis does: dict"),
        (b"$-5\r\n", "does not speak as Redis does"),
        (b"+" + b"x" * (LONGEST + 1), "an answer of more than"),
        (b"$4\r\nab", "hung up"),
    ],
)
def test_what_is_no_answer_ends_the_connection(data: bytes, words: str) -> None:
    with pytest.raises(Lost, match=words):
        heard(data).hear()


def test_the_bytes_of_a_large_answer_are_not_kept() -> None:
    answers = heard(spoken(b"x" * 3_000_000) + spoken(1))
    assert len(answers.hear()) == 3_000_000 and answers.hear() == 1
    assert not answers.pending()
