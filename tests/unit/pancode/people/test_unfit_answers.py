"""An answer or approval that does not fit is refused with the command that does."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.job import MAX_ANSWER
from pancode.kernel.errors import PancodeError
from pancode.runs.life.continuations import continue_request
from pancode.runs.life.inbox import ItemKind, answer_of, must_be_shown, must_wait
from pancode.runs.retry import request_of
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.life import test_continuations as continuations
from tests.unit.pancode.runs.life.test_inbox import ASKS, FLAGS, ITEM, ended, held
from tests.unit.pancode.runs.test_recovery import must_leave_alone


@pytest.mark.parametrize("said", [(), ("--with-commands",)])
def test_a_yes_to_something_else_is_refused_with_the_command_that_fits(said: tuple[str, ...]) -> None:
    must_be_shown(held("x"), FLAGS)
    with pytest.raises(PancodeError) as caught:
        must_be_shown(held("x"), said)
    assert caught.value.code == "changed"
    assert "pancode approve --with-commands --with-secret r-0001" in caught.value.fix


@pytest.mark.parametrize(("said", "code"), [("9", "no_choice"), ("0", "no_choice"), ("  ", "no_answer")])
def test_an_answer_that_is_none_says_what_fits(said: str, code: str) -> None:
    with pytest.raises(PancodeError) as caught:
        answer_of(ended(**ASKS), said)
    assert caught.value.code == code and "pancode answer r-0001" in caught.value.fix


@pytest.mark.parametrize("unfit", ["x" * (MAX_ANSWER + 1), "a\0b"])
def test_a_command_takes_no_such_answer(unfit: str) -> None:
    old = continuations.ended("shell")
    with pytest.raises(PancodeError) as caught:
        continue_request(old, request_of(old, "ana"), "...", True, answers=unfit)
    assert caught.value.code == "bad_words"


def test_a_run_that_waits_for_an_answer_is_not_recovered(tmp_path: Path) -> None:
    must_leave_alone(World(tmp_path), "blocked")


def test_what_waits_for_nobody_or_otherwise_says_so() -> None:
    with pytest.raises(PancodeError) as caught:
        must_wait(ended(), None, ItemKind.QUESTION)
    assert caught.value.code == "nothing_asked"
    with pytest.raises(PancodeError) as caught:
        must_wait(ended(), ITEM, ItemKind.LANDING)
    assert caught.value.code == "other_kind" and "pancode answer" in caught.value.fix
