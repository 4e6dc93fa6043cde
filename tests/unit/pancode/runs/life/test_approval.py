"""What a user is shown of a run that they are asked to approve."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pancode.people.commands.inbox import _plan
from pancode.runs.commands.runs import _join_value
from pancode.runs.life.inbox import MOST_TASK, plan_of
from tests.unit.pancode.runs.world import a_run


@pytest.mark.parametrize("more", [{"task": "x" * 1_500 + "END"}, {"argv": ("x" * 1_500, "EN")}])
def test_a_task_that_is_cut_says_how_much_is_hidden_and_where_it_is(more: dict[str, Any]) -> None:
    task = plan_of(a_run("r-0001", 0, Decimal(0), **more))["task"]
    assert task.startswith("x" * MOST_TASK + " ...") and "END" not in task
    assert "503 more characters; for the whole text" in task and "pancode runs show r-0001" in task


def test_a_task_that_fits_is_shown_as_it_is() -> None:
    assert plan_of(a_run("r-0001", 0, Decimal(0), task="x" * MOST_TASK))["task"] == "x" * MOST_TASK


def test_the_inbox_shows_the_mark_and_the_command_shows_all() -> None:
    long = "word " * 400 + "END"
    shown = _plan(plan_of(a_run("r-0001", 0, Decimal(0), task=long)))
    assert "1003 more characters" in " ".join(shown.split()) and "END" not in shown
    assert _join_value(long) == long
