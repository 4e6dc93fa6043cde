"""The asks of a node: one at a time per endpoint, told of until a while after their end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node_agent.passport.questions import Reply
from node_agent.passport.queue import MOST_ASKS, TOLD_MS, ExamQueue, PassportCache
from node_agent.wire.endpoint import AskState
from tests.crowd import crowded, until
from tests.unit.node_agent.passport.interactive_runs import FACT, Box, asking


class Held(Box):
    """It answers only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let, self.begun, self.inside, self.most = threading.Event(), threading.Event(), 0, 0

    def ask(self, body: Mapping[str, Any], ms: int) -> Reply:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun.set()
        assert self.let.wait(20 * crowded())
        self.inside -= 1
        return super().ask(body, ms)


def coordinator(box: Box, home: Path) -> ExamQueue:
    return ExamQueue(box.tools(), PassportCache(home))


def states(one: ExamQueue) -> list[AskState]:
    return [ask.state for ask in one.asks()]


def test_a_test_gives_the_model_its_passport(tmp_path: Path) -> None:
    box = Box()
    one = coordinator(box, tmp_path)
    assert not one.news() and one.stamped((FACT,)) == (FACT,)
    one.examine(asking())
    until(lambda: states(one) == [AskState.DONE])
    assert one.news() and not one.news()
    (told,) = one.stamped((FACT,))
    assert told.models[0].passport is not None and told.models[0].passport.ctx == 32_768


def test_what_has_a_passport_is_not_tested_unless_again(tmp_path: Path) -> None:
    box = Box()
    one = coordinator(box, tmp_path)
    for number, again in enumerate((False, False, True)):
        one.examine(asking(f"{number}" * 8, again=again))
        until(lambda: states(one)[-1] is AskState.DONE)
    assert box.asked.count("answer") == 2 and one.asks()[1].words == "already tested; its passport is valid"


def test_the_same_ask_twice_is_one(tmp_path: Path) -> None:
    box = Box()
    one = coordinator(box, tmp_path)
    for _ in range(3):
        one.examine(asking(again=True))
    until(lambda: states(one) == [AskState.DONE])
    assert box.asked.count("answer") == 1


def test_one_at_a_time_and_nobody_waits_for_it(tmp_path: Path) -> None:
    box = Held()
    one = coordinator(box, tmp_path)
    for number in range(3):
        one.examine(asking(f"{number}" * 8, again=True))
        assert "another test" not in one.asks()[0].words
    assert box.begun.wait(20 * crowded())
    assert AskState.WAITING in states(one) and states(one).count(AskState.TESTING) == 1
    assert one.asks()[2].words == "another test of box goes first"
    box.let.set()
    until(lambda: states(one) == [AskState.DONE] * 3)
    assert box.most == 1


def test_too_many_are_refused_with_words(tmp_path: Path) -> None:
    box = Held()
    one = coordinator(box, tmp_path)
    for number in range(MOST_ASKS + 1):
        one.examine(asking(f"{number:08d}"))
    assert one.asks()[-1].state is AskState.GIVEN_UP and one.asks()[-1].fix == "try again later"
    box.let.set()
    until(lambda: AskState.WAITING not in states(one) and AskState.TESTING not in states(one))


def test_what_cannot_be_tested_says_why_and_gives_no_passport(tmp_path: Path) -> None:
    box = Box(reachable=False)
    one = coordinator(box, tmp_path)
    one.examine(asking())
    until(lambda: states(one) == [AskState.GIVEN_UP])
    (ask,) = one.asks()
    assert "cannot be reached" in ask.words and ask.fix and one.stamped((FACT,)) == (FACT,)


def test_a_fault_of_ours_costs_the_test_and_not_the_node(tmp_path: Path) -> None:
    box = Box()
    del box.replies["tool"]
    one = coordinator(box, tmp_path)
    one.examine(asking())
    until(lambda: states(one) == [AskState.GIVEN_UP])
    assert one.asks()[0].words.startswith("internal error")
    box.replies["tool"] = Reply(text="no")
    one.examine(asking("b" * 8))
    until(lambda: states(one)[-1] is AskState.DONE)


def test_a_heartbeat_stays_small_whatever_is_asked(tmp_path: Path) -> None:
    one = coordinator(Box(), tmp_path)
    for number in range(3 * MOST_ASKS):
        one.examine(asking(f"{number:08d}"))
        until(lambda: AskState.WAITING not in states(one) and AskState.TESTING not in states(one))
    assert [ask.ask for ask in one.asks()] == [
        f"{number:08d}" for number in range(2 * MOST_ASKS, 3 * MOST_ASKS)
    ]


def test_an_end_is_told_for_a_while(tmp_path: Path) -> None:
    box = Box()
    one = coordinator(box, tmp_path)
    one.examine(asking())
    until(lambda: states(one) == [AskState.DONE])
    box.clock.advance(TOLD_MS)
    assert one.asks() == ()
