"""A session that waits for a message rests when a run waits for its slot: one a run, the
longest idle first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.event import Marked
from node_agent.wire.identity import Mark
from node_agent.wire.job import Job
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation, Mode, Safety
from node_agent.wire.receipt import SuspendReason
from pancode.kernel.node import NodeState
from pancode.kernel.records import Run, SessionRow, StoredMessage, WaitReason
from pancode.runs.life.conversation import may_give_way
from pancode.runs.placement.placement import Standing, lacks_slot_at
from pancode.runs.placement.preemption import choose_to_suspend
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.kernel.fleets import node, resolved
from tests.unit.pancode.runs.world import facts
from tests.unit.pancode.sessions.test_sessions import (
    begin,
    interactive_run,
    record,
    say,
    sent,
    session,
    turned,
)

IDLE_MS = 30_000


def idle(name: str, since_ms: int, **terms: Any) -> Run:
    base = resolved(runtime="shell", task="make").run(name, 1, "t", {})
    turn = {"number": 1, "stop": "end_turn", "why": "", "at_ms": since_ms}
    made: Any = {"turns": {"idle_ms": 1}, "turn": turn, **terms}
    return replace(base, terms=made, session=name)


def row(**more: Any) -> SessionRow:
    return SessionRow("r-1", "r-1", 1, "make", Mode.BUILD, Safety.SUGGEST, None, None, "", "rest", **more)


def said(turn: int | None) -> StoredMessage:
    return StoredMessage("r-1", 1, 1, "ana", "more", turn=turn)


@pytest.mark.parametrize(
    ("interactive_runs", "rests"),
    [
        ([idle("r-1", 200), idle("r-2", 100), idle("r-3", 300)], "r-2"),
        ([idle("r-1", 70_001)], None),
        ([idle("r-1", 70_000)], "r-1"),
        ([], None),
    ],
)
def test_the_longest_idle_rests_and_no_other(interactive_runs: list[Run], rests: str | None) -> None:
    chosen = choose_to_suspend(interactive_runs, 100_000, IDLE_MS)
    assert (chosen and chosen.id) == rests


@pytest.mark.parametrize(
    ("run", "session", "words", "may"),
    [
        (idle("r-1", 100), row(), [], True),
        (idle("r-1", 100, gives_way="r-9"), row(), [], False),
        (idle("r-1", 100), row(closed_by="ana"), [], False),
        (idle("r-1", 100), row(chosen_by="ana"), [], False),
        (idle("r-1", 100), row(), [said(None)], False),
        (idle("r-1", 100), row(), [said(1)], True),
        (idle("r-1", 100), row(), [replace(said(None), for_next=True)], True),
        (replace(idle("r-1", 100), stop_asked="ana"), row(), [], False),
        (replace(idle("r-1", 100), terms={"turns": {"idle_ms": 1}}), row(), [], False),
        (replace(idle("r-1", 100), terms={}), None, [], False),
    ],
)
def test_an_interactive_run_rests_that_waits_for_words_alone(
    run: Run, session: SessionRow | None, words: list[StoredMessage], may: bool
) -> None:
    assert may_give_way(run, session, words) is may


def test_only_where_nothing_but_a_slot_is_missing() -> None:
    run = resolved(runtime="shell", task="make").run("r-1", 1, "t", {})
    a, b, away = node("a"), node("b"), node("c", state=NodeState.UNREACHABLE)
    full = Standing((a, b, away), {"a": 0, "b": -1, "c": 0})
    assert lacks_slot_at(run, full) == ["a"], "b has more at work than its slots, c does not ask"
    assert lacks_slot_at(replace(run, node="b"), full) == []
    assert lacks_slot_at(run, replace(full, paused="ana")) == []
    assert lacks_slot_at(run, replace(full, paused_queues={"any": "ana"})) == []


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    names = ("native", "shell")
    made.node.slots = 1
    made.node.facts = facts(
        isolation=Isolation.SANDBOX, runtimes=tuple(RuntimeFact(name=name, state="ok") for name in names)
    )
    made.node.breathe()
    return made


def passes(world: World, ms: int) -> None:
    for _ in range(ms // world.context.rules.heartbeat_ms):
        world.node.breathe(inventory=False)


def rested(world: World, job: Job) -> None:
    turns = (record(1, 0),)
    world.node.deliver(job, session="s-1", turns=turns, rests=SuspendReason.SLOT, answer="hi")
    world.context.turn()


def test_a_run_gets_the_slot_of_an_idle_session_which_goes_on_behind_it(world: World) -> None:
    chat = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    waiting = world.dispatch()["run"]
    world.context.clock.advance(1)
    later = world.dispatch()["run"]
    passes(world, 15_000)
    assert sent(world) == [], "its user may be about to answer"
    passes(world, 20_000)
    (rest,) = sent(world)
    assert (rest.what, rest.number, rest.identity) == ("give_way", 1, job.identity)
    row: Run = world.context.row(Run, waiting)
    assert row.waits is WaitReason.NO_SLOT and row.reason.endswith(f"; session {chat} is suspended for it")
    assert "is suspended for it" not in world.context.row(Run, later).reason, "it rests for one run"
    world.context.core.live.binding.given_way.clear()
    passes(world, 10_000)
    assert world.context.row(Run, waiting).reason == row.reason, "the interactive run knows it, too"
    assert sent(world) == [], "it is asked once"
    rested(world, job)
    shown = session(world, chat)
    assert (shown["state"], shown["reason"]) == ("rests", f"suspended: {waiting} needed its slot")
    works = interactive_run(world)
    assert works.identity.run == waiting
    begun = say(world, chat, "go on")["run"]
    passes(world, 45_000)
    assert sent(world) == [], "a run at work gives nothing away"
    assert "is suspended for it" not in world.context.row(Run, begun).reason
    world.node.deliver(works)
    world.context.turn()
    assert interactive_run(world).identity.run == later, "the session waits its turn"


def test_words_that_come_with_the_rest_begin_the_next_interactive_run(world: World) -> None:
    chat = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    world.dispatch()
    passes(world, 35_000)
    assert say(world, chat, "and this")["how"] == "sent"
    rested(world, job)
    shown = session(world, chat)
    assert (shown["state"], shown["goes_on"], shown["waiting"]) == ("rests", True, 1)


def test_a_session_rests_for_the_run_that_begins_next_on_its_node(world: World) -> None:
    world.node.ahead = 8
    passes(world, 10_000)
    chat = begin(world)["run"]
    job = interactive_run(world)
    turned(world, job, record(1, 0))
    first, second = world.dispatch()["run"], world.dispatch()["run"]
    handed = [world.node.claim(), world.node.claim()]
    for one in handed:
        assert one is not None and one.ahead
        world.node.say(one.identity, Marked(mark=Mark.HELD))
    passes(world, 35_000)
    (rest,) = sent(world)
    assert (rest.what, rest.identity) == ("give_way", job.identity)
    assert sent(world) == [], "for the first of them"
    shown = world.http.get(f"/v1/runs/{first}").json()["reason"]
    assert shown == f"handed to n1, 1st there; session {chat} is suspended for it"
    rested(world, job)
    assert session(world, chat)["reason"] == f"suspended: {first} needed its slot"
    assert world.context.row(Run, second).waits is WaitReason.HANDED
