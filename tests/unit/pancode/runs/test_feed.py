"""The feed: every commit tells what it has changed, in order, once, and only when it is durable."""

from __future__ import annotations

import pytest

from node_agent.wire.failure import Outcome
from pancode.kernel.records import EventKind, FeedEvent
from pancode.runs import live as feeds
from pancode.runs.life.changes import Happened
from pancode.runs.unit_of_work import Work, unit_of_work
from tests.unit.pancode.runs.world import Desk, offered


def told(coordinator: Desk, run: str | None = "r-0001") -> list[str]:
    return [event.kind.value for event in coordinator.core.feed.newest(1_000) if event.run == run]


def test_a_run_is_told_from_its_admission_to_its_end() -> None:
    coordinator = Desk()
    node, job = offered(coordinator)
    node.carry_out(job)
    assert told(coordinator) == [
        "run.queued",
        "run.placed",
        "run.stage",
        "run.stage",
        "run.stage",
        "run.ended",
    ]
    end = coordinator.core.feed.newest(1)[0]
    assert (end.kind, end.node, end.data["outcome"]) == (EventKind.RUN_ENDED, "n1", Outcome.DONE)
    assert end.data["state"] == "ended" and end.data["attempt"] == 1


def test_a_node_is_told_as_it_comes_and_goes() -> None:
    coordinator = Desk()
    offered(coordinator)
    for _ in range(coordinator.rules.deadlines.unreachable_ms // 5_000 + 2):
        coordinator.turn(5_000)
    states = [e.data["state"] for e in coordinator.core.feed.newest(1_000) if e.kind is EventKind.NODE_STATE]
    assert states[-3:] == ["online", "suspect", "unreachable"], states


def test_what_waits_says_so_once() -> None:
    coordinator = Desk()
    coordinator.dispatch()
    for _ in range(3):
        coordinator.turn()
    assert told(coordinator) == ["run.queued", "run.waits"]


def test_the_next_coordinator_goes_on_with_higher_numbers_and_misses_nothing() -> None:
    coordinator = Desk()
    coordinator.dispatch()
    last = coordinator.core.feed.last
    coordinator.restart()
    news = coordinator.core.feed.since(last)
    assert news is not None and [event.data.get("what") for event in news] == ["coordinator started"]
    assert news[0].number > last
    assert [row.number for row in coordinator.rows(FeedEvent)] == sorted(
        row.number for row in coordinator.rows(FeedEvent)
    )


def test_a_commit_that_fails_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator = Desk()
    core, last = coordinator.core, coordinator.core.feed.last
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
    coordinator = Desk()
    with coordinator.ledger.transaction() as tx:
        backup = tx.find(FeedEvent)
    coordinator.dispatch()
    forgotten = coordinator.core.feed.last
    with coordinator.ledger.transaction() as tx:
        for row in tx.find(FeedEvent):
            tx.delete(FeedEvent, row.number)
        for row in backup:
            tx.insert(row)
    coordinator.restart()
    assert coordinator.core.feed.since(forgotten) is None
    assert coordinator.core.feed.since(forgotten + 10**9) is None
    known = coordinator.core.feed.newest(3)
    assert coordinator.core.feed.since(known[0].number) == known[1:]


def test_only_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator = Desk()
    monkeypatch.setattr(feeds, "MOST", 10)
    core, first = coordinator.core, coordinator.core.feed.last

    def tell(work: Work, count: int) -> None:
        for number in range(count):
            work.happened(Happened(EventKind.AUDIT, data={"number": number}))

    for count in (1, 4, 3, 7, 1, 2):
        with unit_of_work(core) as work:
            tell(work, count)
    kept = coordinator.rows(FeedEvent)
    assert len(kept) == len(core.feed) == 10 and kept == core.feed.newest(10)
    assert core.feed.since(first) is None
