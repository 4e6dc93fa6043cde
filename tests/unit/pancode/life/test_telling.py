"""Words for a run: with its task, or kept for the run that goes on from it; never lost, never twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pancode.errors import PancodeError
from pancode.life.continuing import MOST_CHARS, continued, delivered, kept, with_words
from pancode.runs.retry import request_of
from tests.unit.pancode.life.test_continuing import ended


def test_while_it_waits_its_task_has_the_words() -> None:
    run = with_words(ended(), "use spec/", "ana", 5, waits=True)
    assert run.task.endswith("A person adds: use spec/") and kept(run) == []


def test_words_for_a_sitting_that_waits_name_who_adds_them() -> None:
    waits = replace(ended(), terms={"turns": {"idle_ms": 1, "turn_ms": 1}})
    assert with_words(waits, "use spec/", "ben", 5, waits=True).task.endswith("\n\nben adds: use spec/")


def test_later_they_are_kept_and_given_once_to_the_next() -> None:
    run = with_words(ended(session="s-1"), "use spec/", "ana", 5, waits=False)
    assert run.task == "find the bug" and kept(run) == ["use spec/"]
    request = continued(run, request_of(run, "ana"), "go", True)
    assert request.task.startswith("go\n\nA person adds: use spec/")
    over = delivered(run, "r-0002")
    assert kept(over) == [] and "use spec/" not in continued(over, request_of(over, "ana"), "go", True).task


def test_what_takes_no_words_says_so() -> None:
    full = ended()
    for _ in range(99):  # a task of a run holds them all
        full = with_words(full, "x" * MOST_CHARS, "ana", 5, waits=False)
    long = replace(ended(), task="x" * 999_500)
    cases = [
        (ended("shell"), "hi", "takes_no_words"),
        (ended(), " ", "bad_words"),
        (ended(), "x" * (MOST_CHARS + 1), "bad_words"),
        (full, "x" * MOST_CHARS, "too_much_told"),
        (long, "x", "too_much_told"),
    ]
    for run, text, code in cases:
        with pytest.raises(PancodeError) as caught:
            with_words(run, text, "ana", 5, waits=False)
        assert caught.value.code == code and "pancode" in caught.value.fix or code == "bad_words"
