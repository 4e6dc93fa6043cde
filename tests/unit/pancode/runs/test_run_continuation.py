"""A chain of continued runs: where its change begins, and what the ledger says of each."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.kernel.errors import PancodeError
from pancode.kernel.records import Audit, Decision, Run
from pancode.landing.rules import Landed
from pancode.people.service import deny_run
from pancode.runs.stop import stop_run
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.views import walk_previous
from pancode.runs.whole_changes import change_begins
from tests.unit.pancode.runs.world import Desk, Puppet, failed


def place(letter: str) -> dict[str, object]:
    return {"kind": "git", "repo": "demo-1234", "snapshot": 40 * letter}


def chain(desk: Desk, *ids: str) -> list[Run]:
    """Each continues from the one before it, and begins at a commit of its own."""
    runs: list[Run] = []
    for number, run in enumerate(ids):
        terms: dict[str, Any] = {"continues": ids[number - 1], "begins": ids[number - 1]} if number else {}
        runs.append(desk.dispatch(run, workspace=place("abcdef"[number]), terms=terms, created_by="ana"))
    return runs


def land(desk: Desk, run: Run) -> None:
    with unit_of_work(desk.core) as work:
        work.signal(work.tx.get(Run, run.id) or run, Landed("ana", "f" * 40, 1, "no gates"))


def test_the_change_of_a_chain_is_counted_from_its_beginning_or_its_last_landing() -> None:
    desk = Desk()
    runs = chain(desk, "r-0001", "r-0002", "r-0003")
    core = desk.core
    assert [change_begins(core, run) for run in runs] == [40 * "a"] * 3
    land(desk, runs[0])
    assert change_begins(core, runs[2]) == 40 * "b", "what has landed is not counted again"
    land(desk, runs[1])
    assert change_begins(core, runs[2]) == 40 * "c"
    with desk.ledger.transaction() as tx:
        assert [old.id for old in walk_previous(tx, runs[2])] == ["r-0002", "r-0001"]


def test_a_new_checkout_of_the_tree_begins_a_new_change() -> None:
    desk = Desk()
    desk.dispatch("r-0001", workspace=place("a"))
    run = desk.dispatch("r-0002", workspace=place("b"), terms={"continues": "r-0001"})
    assert change_begins(desk.core, run) == 40 * "b"


def test_the_old_run_names_the_next_and_the_audit_says_who() -> None:
    desk = Desk()
    chain(desk, "r-0001", "r-0002")
    assert desk.row(Run, "r-0001").result["continued_by"] == ["r-0002"]
    assert [d.what for d in desk.rows(Decision, run="r-0001") if d.kind == "continue"] == ["r-0002"]
    (told,) = desk.rows(Audit, domain="people")
    assert (told.run, told.detail["by"], told.detail["next"]) == ("r-0001", "ana", "r-0002")


def asking() -> Desk:
    """One run that is blocked and waits for a user."""
    desk = Desk()
    node = Puppet(desk)
    node.breathe()
    desk.dispatch("r-0001")
    desk.turn()
    node.carry_out(**failed(FailureKind.NEEDS_USER, Outcome.BLOCKED))
    return desk


def test_an_answer_that_was_denied_before_it_is_written_continues_nothing() -> None:
    desk = asking()
    deny_run(desk.core, "r-0001", "bob")
    with pytest.raises(PancodeError) as caught:
        desk.dispatch("r-0002", terms={"continues": "r-0001", "answers": "yes"})
    assert caught.value.code == "nothing_asked" and desk.row(Run, "r-0002") is None
    desk.check_books()


def test_of_two_answers_one_wins_and_the_other_leaves_nothing() -> None:
    desk = asking()
    terms = {"continues": "r-0001", "answers": "yes"}
    desk.dispatch("r-0002", terms=terms)
    with pytest.raises(PancodeError) as caught:
        desk.dispatch("r-0003", terms=terms)
    assert "r-0002" in str(caught.value) and desk.row(Run, "r-0003") is None
    desk.check_books()


def test_of_two_that_continue_one_question_at_once_one_makes_a_run() -> None:
    desk = asking()
    desk.dispatch("r-0002", terms={"continues": "r-0001"}, created_by="ana")
    with pytest.raises(PancodeError) as caught:
        desk.dispatch("r-0003", terms={"continues": "r-0001"})
    assert caught.value.code == "already_continued" and "r-0002" in str(caught.value)
    assert desk.row(Run, "r-0003") is None and desk.row(Run, "r-0001").result["continued_by"] == ["r-0002"]
    stop_run(desk.core, "r-0002", "wrong words")
    desk.dispatch("r-0004", terms={"continues": "r-0001"})
    assert desk.row(Run, "r-0001").result["continued_by"] == ["r-0002", "r-0004"], "that one came to nothing"
    desk.check_books()
