"""What the API refuses to queue, and what a run that starts a run may hand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.domain.records import Entry, Run
from tests.unit.pancode.api.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_ceiling_refuses_with_the_numbers(world: World) -> None:
    told = world.problem("POST", "/v1/runs", world.shell(budget="10.01"))
    assert told["exit_code"] == 5 and "ceiling: $10.00" in told["message"]
    world.desk.check_books()


def test_an_order_that_is_too_large_holds_nothing(world: World) -> None:
    told = world.problem("POST", "/v1/runs", world.shell(task="# " + 900_000 * "\x01"))
    assert (told["exit_code"], told["code"]) == (5, "refused_task") and "files" in told["fix"]
    assert world.desk.rows(Run) == [] and world.desk.rows(Entry) == []


def test_a_run_cannot_raise_what_its_parent_has(world: World) -> None:
    parent = world.dispatch(mode="review", agent="reviewer", told_only=True)["run"]
    told = world.problem("POST", "/v1/runs", world.shell(parent=parent, depth=1))
    assert told["exit_code"] == 5 and parent in told["message"]
