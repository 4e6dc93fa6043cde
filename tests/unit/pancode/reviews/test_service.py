"""Comments are kept for the run, and shown with the answers of the round that got them."""

from __future__ import annotations

import pytest

from pancode.kernel.errors import ConflictError, NotFoundError
from pancode.kernel.records import ApiToken, Run, RunState
from pancode.kernel.values import replace
from pancode.reviews.model import ReviewComment
from pancode.reviews.service import add_comment, change_comment, list_comments
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.runs.world import Desk

DIFF = b"diff --git a/app.py b/app.py\n--- a/app.py\n+++ b/app.py\n@@ -1 +1 @@\n-x\n+y\n"


def ended(desk: Desk, name: str, answer: str = "", **terms: object) -> Run:
    """A run that has ended with a change."""
    place: dict[str, object] = {"kind": "git", "repo": "demo-1234", "snapshot": 40 * "a"}
    run = desk.dispatch(name, workspace=place, terms=terms)
    with unit_of_work(desk.core) as work:
        result: dict[str, object] = {"commit": 40 * "b", "answer": answer}
        work.tx.put(replace(run, state=RunState.ENDED, result=result))
    return run


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk()
    monkeypatch.setattr(desk.depot, "diff", lambda *given: DIFF)
    ended(desk, "r-0001")
    return desk


def test_two_who_comment_at_once_lose_nothing(desk: Desk) -> None:
    for by, words in (("ana", "use z"), ("ben", "why?")):
        add_comment(desk.core, "r-0001", "app.py", 1, 0, "new", words, by)
    shown = list_comments(desk.core, "r-0001")
    assert [(one.by, one.words, one.quote, one.place) for one in shown.comments] == [
        ("ana", "use z", "y", "app.py:1"),
        ("ben", "why?", "y", "app.py:1"),
    ]
    assert (shown.round, shown.before) == (1, None)


def test_the_next_round_shows_what_it_was_asked_with_its_answers(desk: Desk) -> None:
    one = add_comment(desk.core, "r-0001", "app.py", 1, 0, "new", "use z", "ana")
    ended(desk, "r-0002", "1: done in app.py", continues="r-0001", begins="r-0001")
    with unit_of_work(desk.core) as work:
        row = work.tx.get(ReviewComment, one.id)
        assert row is not None
        work.tx.put(replace(row, sent_in="r-0002", number=1))
    shown = list_comments(desk.core, "r-0002")
    assert (shown.round, shown.before) == (2, "r-0001")
    assert [(one.answer, one.closed) for one in shown.comments] == [("done in app.py", False)]
    assert change_comment(desk.core, one.id, None, True, "ben").comments[0].closed
    with pytest.raises(ConflictError):
        change_comment(desk.core, one.id, "another word", None, "ana")


def test_only_its_author_changes_a_comment(desk: Desk) -> None:
    one = add_comment(desk.core, "r-0001", "", 0, 0, "new", "add a test", "ana")
    with pytest.raises(ConflictError):
        change_comment(desk.core, one.id, "", None, "ben")
    assert change_comment(desk.core, one.id, "add two", None, "ana").comments[0].words == "add two"
    assert change_comment(desk.core, one.id, "", None, "ana").comments == ()
    with pytest.raises(NotFoundError):
        change_comment(desk.core, one.id, "again", None, "ana")


def test_a_program_with_a_token_is_not_a_person_but_a_browser_is(desk: Desk) -> None:
    with unit_of_work(desk.core) as work:
        for name, agent in (("ci", None), ("web-1", "Firefox")):
            work.tx.put(ApiToken(name, name * 8, ("answer",), 0, "ana", agent=agent))
    people = [
        add_comment(desk.core, "r-0001", "", 0, 0, "new", "x", by).person
        for by in ("ana", "token ci", "token web-1", "token gone")
    ]
    assert people == [True, False, True, False]
