"""Changes of one moment share a turn, and none is left without one."""

from __future__ import annotations

from pancode.interfaces.http.context import Nudges


def test_a_turn_that_has_not_begun_serves_all_who_ask() -> None:
    nudges = Nudges()
    assert nudges.take()
    assert not nudges.take() and not nudges.take()


def test_who_asks_after_it_has_begun_gets_another() -> None:
    nudges = Nudges()
    assert nudges.take()
    nudges.begun()
    assert nudges.take()
    nudges.begun()
    assert nudges.take()
