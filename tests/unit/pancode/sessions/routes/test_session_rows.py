"""Each run has its place in one chain, and a session is the chain of its interactive runs."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.kernel.records import Run, SessionRow, StoredMessage
from pancode.kernel.values import replace
from pancode.runs.dispatch import in_chain
from pancode.runs.life.conversation import NEXT
from pancode.sessions.session import load_chain
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.kernel.fleets import resolved
from tests.unit.pancode.sessions.routes.test_session_rest import world
from tests.unit.pancode.sessions.test_sessions import begin, interactive_run, record, rested, say, session

__all__ = ["world"]


def run(name: str, **more: Any) -> Run:
    return replace(resolved(runtime="shell", task="make").run(name, 1, "t", {}), **more)


FIRST = run("r-1", session="r-1", place=1)


@pytest.mark.parametrize(
    ("old", "new", "chain"),
    [
        (None, run("r-2"), ("r-2", 1)),
        (FIRST, run("r-2"), ("r-1", 2)),
        (FIRST, run("r-2", session="r-1"), ("r-1", 2)),
        (FIRST, run("r-2", session="r-2"), ("r-2", 1)),
        (replace(FIRST, result={NEXT: ["r-9"]}), run("r-2"), ("r-2", 1)),
    ],
    ids=[
        "first",
        "next",
        "next interactive run",
        "a session in the files of a run",
        "another continued already",
    ],
)
def test_its_place_is_behind_the_run_that_it_goes_on_from(
    old: Run | None, new: Run, chain: tuple[str, int]
) -> None:
    joined = in_chain(new, old)
    assert (joined.session, joined.place) == chain


def test_a_session_is_one_row_with_its_newest_interactive_run_and_its_words(world: World) -> None:
    first = begin(world)["run"]
    rested(world, interactive_run(world), record(1, 0))
    second = say(world, first, "and now the tests")["run"]
    say(world, second, "more")
    (row,) = world.context.rows(SessionRow)
    assert (row.id, row.run, row.title) == (first, second, session(world, first)["title"])
    with world.context.ledger.transaction() as tx:
        chain = load_chain(tx, first)
    assert [(one.id, one.place) for one in chain.runs] == [(first, 1), (second, 2)]
    assert [(one.number, one.text) for one in world.context.rows(StoredMessage, run=second)] == [(1, "more")]
