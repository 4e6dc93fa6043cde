"""Words for a run: kept for the run that continues from it; never lost, never twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pancode.kernel.errors import PancodeError
from pancode.kernel.records import StoredMessage
from pancode.runs.life.continuations import LeftOver, continue_request
from pancode.runs.life.conversation import (
    MOST_CHARS,
    mark_delivered,
    must_hear,
    select_undelivered,
    select_unread,
)
from pancode.runs.retry import request_of
from tests.unit.pancode.runs.life.test_continuations import ended


def word(number: int, text: str, laid: str = "") -> StoredMessage:
    return StoredMessage("r-0001", number, 5, "ana", text, laid)


def test_they_are_kept_and_given_once_to_the_next() -> None:
    run, said = ended(session="s-1"), word(1, "use spec/")
    request = continue_request(run, request_of(run, "ana"), "go", True, left=LeftOver([said]))
    assert request.task.startswith("go\n\nA user adds: use spec/")
    over = LeftOver([replace(said, laid="r-0002")])
    assert "use spec/" not in continue_request(run, request_of(run, "ana"), "go", True, left=over).task


def test_a_later_attempt_is_told_again() -> None:
    words = [word(1, "with the task", "with its task"), word(2, "later")]
    assert [one.number for one in select_unread(words, 1)] == [2]
    (got,) = mark_delivered(words, (1, 2), attempt=1)
    words = [words[0], got]
    assert select_unread(words, 1) == [] and select_undelivered(words) == []
    assert [one.number for one in select_unread(words, 2)] == [2]


def test_what_takes_no_words_says_so() -> None:
    full = [word(number, "x" * MOST_CHARS) for number in range(1, 100)]  # a task of a run holds them all
    long = replace(ended(), task="x" * 999_500)
    cases = [
        (ended("shell"), [], "hi", "takes_no_words"),
        (ended(), [], " ", "bad_words"),
        (ended(), [], "x" * (MOST_CHARS + 1), "bad_words"),
        (ended(), full, "x" * MOST_CHARS, "too_much_told"),
        (long, [], "x", "too_much_told"),
    ]
    for run, words, text, code in cases:
        with pytest.raises(PancodeError) as caught:
            must_hear(run, words, text, ())
        assert caught.value.code == code and "pancode" in caught.value.fix or code == "bad_words"
