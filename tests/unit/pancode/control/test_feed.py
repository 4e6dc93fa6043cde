"""The feed: every commit tells what it has changed, in order, once, and only when it is durable."""

from __future__ import annotations

import pytest

from node_agent.wire.failure import Outcome
from pancode.control import feed as feeds
from pancode.control import work as works
from pancode.control.work import Work, unit_of_work
from pancode.domain.life.feed import Happened
from pancode.domain.records import EventKind, FeedEvent
from tests.unit.pancode.control.world import Desk, offered


def told(desk: Desk, run: str | None = "r-0001") -> list[str]:
    return [event.kind.value for event in desk.plane.core.feed.newest(1_000) if event.run == run]


def test_a_run_is_told_from_its_admission_to_its_end() -> None:
    desk = Desk()
    node, order = offered(desk)
    node.start(order)
    node.deliver(order)
    desk.turn()
    assert told(desk) == [
        "run.queued",
        "run.placed",
        "run.stage",
        "run.stage",
        "run.stage",
        "run.ended",
    ]
    end = desk.plane.core.feed.newest(1)[0]
    assert (end.kind, end.node, end.data["outcome"]) == (EventKind.RUN_ENDED, "n1", Outcome.DONE)
    assert end.data["state"] == "ended" and end.data["attempt"] == 1


def test_a_node_is_told_as_it_comes_and_goes() -> None:
    desk = Desk()
    offered(desk)
    for _ in range(desk.rules.deadlines.unreachable_ms // 5_000 + 2):
        desk.turn(5_000)
    states = [e.data["state"] for e in desk.plane.core.feed.newest(1_000) if e.kind is EventKind.NODE_STATE]
    assert states[-3:] == ["online", "suspect", "unreachable"], states


def test_what_waits_says_so_once() -> None:
    desk = Desk()
    desk.dispatch()
    for _ in range(3):
        desk.turn()
    assert told(desk) == ["run.queued", "run.waits"]


def test_the_next_coordinator_goes_on_with_higher_numbers_and_misses_nothing() -> None:
    desk = Desk()
    desk.dispatch()
    last = desk.plane.core.feed.last
    desk.restart()
    news = desk.plane.core.feed.since(last)
    assert news is not None and [event.data.get("what") for event in news] == ["coordinator started"]
    assert news[0].number > last
    assert [row.number for row in desk.rows(FeedEvent)] == sorted(row.number for row in desk.rows(FeedEvent))


def test_a_commit_that_fails_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    core, last = desk.plane.core, desk.plane.core.feed.last
    rung: list[int] = []
    core.feed.listen(lambda: rung.append(1))
    with pytest.raises(ValueError, match="no"), unit_of_work(core) as work:
        work.audit("fleet", "info", "something")
        work.after(lambda: rung.append(2))
        raise ValueError("no")
    assert core.feed.last == last and not rung
    with unit_of_work(core) as work:
        work.audit("fleet", "info", "something")
        work.after(lambda: rung.append(2))
        assert core.feed.last == last, "not before the commit"
    assert core.feed.since(last) == core.feed.newest(1) and rung == [2, 1]


def test_a_number_that_is_not_known_any_more_is_a_gap() -> None:
    desk = Desk()
    with desk.ledger.transaction() as tx:
        backup = tx.find(FeedEvent)
    desk.dispatch()
    forgotten = desk.plane.core.feed.last
    with desk.ledger.transaction() as tx:
        for row in tx.find(FeedEvent):
            tx.delete(FeedEvent, row.number)
        for row in backup:
            tx.insert(row)
    desk.restart()
    assert desk.plane.core.feed.since(forgotten) is None
    assert desk.plane.core.feed.since(forgotten + 10**9) is None
    known = desk.plane.core.feed.newest(3)
    assert desk.plane.core.feed.since(known[0].number) == known[1:]


def test_only_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    for place in (feeds, works):
        monkeypatch.setattr(place, "MOST", 10)
    core, first = desk.plane.core, desk.plane.core.feed.last

    def tell(work: Work, count: int) -> None:
        for number in range(count):
            work.happened(Happened(EventKind.AUDIT, data={"number": number}))

    for count in (1, 4, 3, 7, 1, 2):
        with unit_of_work(core) as work:
            tell(work, count)
    kept = desk.rows(FeedEvent)
    assert len(kept) == len(core.feed) == 10 and kept == core.feed.newest(10)
    assert core.feed.since(first) is None
