"""The coordinator asks a node to test a model: believed, done once, never late, told at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from node_agent.wire.control import Drain, Examine, Revoke
from node_agent.wire.endpoint import AskFact, AskState
from node_agent.wire.model import FleetTime
from node_agent.wire.node import Heartbeat
from tests.fakes.node.exams import NoExams
from tests.unit.node_agent.stage import STRANGER, Stage


@dataclass
class ToldExams(NoExams):
    """Takes down what it is asked."""

    asked: list[Examine] = field(default_factory=list)
    state: AskState = AskState.WAITING
    changed: bool = False

    def examine(self, ask: Examine) -> None:
        self.asked.append(ask)
        self.changed = True

    def become(self, state: AskState) -> None:
        self.state, self.changed = state, True

    def asks(self) -> tuple[AskFact, ...]:
        return tuple(
            AskFact(ask=one.ask, endpoint=one.endpoint, model=one.model, state=self.state)
            for one in self.asked
        )

    def news(self) -> bool:
        had, self.changed = self.changed, False
        return had


def asking(stage: Stage, in_ms: int = 30_000) -> Examine:
    start_by = FleetTime(epoch=1, ms=max(stage.now().ms + in_ms, 0))
    return Examine(ask="a" * 8, endpoint="ollama", model="m", start_by=start_by)


def heard(stage: Stage) -> Heartbeat:
    found = stage.heartbeat()
    assert found is not None
    return found


def staged() -> tuple[Stage, ToldExams]:
    coordinator = ToldExams()
    stage = Stage(exams=coordinator)
    stage.go(2_000)
    return stage, coordinator


def test_it_is_asked_once_and_told_at_once() -> None:
    stage, coordinator = staged()
    ask = asking(stage)
    stage.tell(ask)
    stage.tell(ask, seq=1)
    assert stage.go(1_500, lambda: bool(heard(stage).facts.asks))  # not only with the next heartbeat
    assert coordinator.asked == [ask]
    coordinator.become(AskState.DONE)
    assert stage.go(1_500, lambda: heard(stage).facts.asks[0].state is AskState.DONE)


def test_a_restart_does_not_ask_again() -> None:
    stage, coordinator = staged()
    stage.tell(asking(stage))
    stage.go(2_000)
    stage.agent = stage.start()
    stage.go(10_000)
    assert len(coordinator.asked) == 1


def test_too_late_it_is_not_begun_and_counts_as_seen() -> None:
    """A node that was away must not load a model for somebody who has gone."""
    stage, coordinator = staged()
    stage.tell(asking(stage, in_ms=-1))
    stage.tell(Drain(on=True))
    stage.go(10_000)
    assert coordinator.asked == [] and heard(stage).control_seen == 2 and heard(stage).draining


def test_a_node_that_is_no_longer_of_the_fleet_tests_nothing() -> None:
    stage, coordinator = staged()
    stage.tell(Revoke(reason="removed"))
    stage.go(2_000)
    stage.tell(asking(stage))
    stage.go(5_000)
    assert coordinator.asked == []


def test_a_stranger_asks_for_nothing() -> None:
    stage, coordinator = staged()
    stage.tell(asking(stage), key=STRANGER)
    stage.go(10_000)
    assert coordinator.asked == []


def test_a_node_agent_without_model_servers_says_so() -> None:
    stage = Stage()
    stage.go(2_000)
    stage.tell(asking(stage))
    stage.go(6_000)
    (ask,) = heard(stage).facts.asks
    assert ask.state is AskState.GIVEN_UP and "reaches no model server" in ask.words
