"""What waits for a user: kinds, words, choices, and answers that fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.kernel.records import Action, ActionKind, Run, RunState
from pancode.landing.hooks import needs_approval
from pancode.runs.life.inbox import (
    ItemKind,
    answer_of,
    format_answer,
    item_of,
    kind_of,
)
from tests.unit.pancode.kernel.fleets import node, resolved

ITEM = Action("a-1", ActionKind.USER, "r-0001", 5, "ana")
ASKS: dict[str, Any] = {
    "question": {"question": "Which port?", "choices": ["8080", "the old one", "the new one"]}
}


def ended(
    outcome: Outcome = Outcome.BLOCKED, terms: dict[str, object] | None = None, **result: object
) -> Run:
    run = resolved(node("desk")).run("r-0001", 0, "t", {"kind": "none"})
    failure = FailureKind.NEEDS_USER if outcome is Outcome.BLOCKED else None
    return replace(
        run,
        state=RunState.ENDED,
        outcome=outcome,
        failure=failure,
        reason="may it run make?",
        result=result,
        terms=terms or {},
    )


def test_a_question_shows_its_words_and_its_choices() -> None:
    item = item_of(ended(**ASKS), ITEM)
    assert (item.kind, item.words, len(item.choices)) == (ItemKind.QUESTION, "Which port?", 3)
    assert item.command == 'pancode answer r-0001 "..."' and item.since_ms == 5


def test_without_a_question_it_is_a_permission_in_the_words_of_its_program() -> None:
    item = item_of(ended(), ITEM)
    assert (item.kind, item.words) == (ItemKind.PERMISSION, "may it run make?")


def test_a_supervised_change_waits_for_approval_and_another_does_not() -> None:
    changed: dict[str, Any] = {"commit": "c" * 40, "files_changed": ["a"]}
    run = ended(Outcome.DONE, {"autonomy": "supervised"}, **changed)
    assert needs_approval(run) and kind_of(run) is ItemKind.LANDING
    assert "its change of 1 file" in item_of(run, ITEM).words
    assert item_of(run, ITEM).command == "pancode approve r-0001"
    assert not needs_approval(ended(Outcome.DONE, {}, **changed))
    assert not needs_approval(ended(Outcome.DONE, {"autonomy": "supervised"}))
    assert not needs_approval(replace(run, landed="c" * 40))


def test_a_short_no_is_never_taken_for_a_choice_that_begins_with_it() -> None:
    asks: dict[str, Any] = {
        "question": {"question": "Push?", "choices": ["No problem: push and delete the old branch"]}
    }
    assert answer_of(ended(**asks), "no") == "no"


FLAGS = ["--with-commands", "--with-secret"]


def held(why: str) -> Run:
    landing = {"status": "held", "why": why, "yes": FLAGS, "held": 2}
    return replace(ended(Outcome.DONE, commit="c" * 40), landing=landing)


def test_flags_and_count_of_a_held_change_come_before_paths_of_any_length() -> None:
    item = item_of(held("x" * 3_000), ITEM)
    first = item.words[:120]
    assert "2 files held" in first and all(flag in first for flag in FLAGS)
    assert len(item.words) <= 2_000 and item.words.endswith("(cut; for the whole text: pancode why r-0001)")
    assert item.flags == tuple(FLAGS)
    assert item.command == "pancode approve --with-commands --with-secret r-0001"
    assert "cut" not in item_of(held("short"), ITEM).words


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("1", "8080"),
        ("8080", "8080"),
        ("3", "the new one"),
        ("The NEW one", "the new one"),
        ("the n", "the n"),
        ("the", "the"),
        (" neither of them ", "neither of them"),
    ],
)
def test_a_choice_is_named_by_number_or_word(said: str, meant: str) -> None:
    assert answer_of(ended(**ASKS), said) == meant


def test_the_agent_is_told_question_and_answer() -> None:
    told = format_answer(ended(**ASKS), "8080")
    assert "Which port?" in told and "The answer is: 8080" in told
