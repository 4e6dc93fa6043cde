"""The watch: a quiet agent is warned of, told once, then asked about; many failures pause the fleet."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.control import UserMessage
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.node import RuntimeFact, Signs
from pancode.config.fleet_settings import pause_queue
from pancode.fleet.health import get_health
from pancode.kernel.records import Decision, EventKind, FeedEvent, Run, Setting, StoredMessage
from pancode.reports.needs import list_needs
from pancode.reports.timeline import explain_run
from pancode.runs.answers import Need
from pancode.runs.life.health import HEALTH
from pancode.runs.occasions import RUN_WAITS, occasion_of
from pancode.runs.placement.breakers import EndedTry
from pancode.runs.views import format_optional_iso
from tests.unit.pancode.runs.world import Desk, Puppet, facts, failed

MIN = 60_000


@pytest.fixture
def desk() -> Desk:
    return Desk()


def at_work(desk: Desk, runtime: str = "native") -> tuple[Puppet, Job]:
    node = Puppet(desk)
    node.facts = facts(runtimes=(RuntimeFact(name=runtime, state="ok"),))
    node.breathe()
    desk.dispatch(runtime=runtime)
    desk.turn()
    job = node.take()
    node.start(job)
    node.open = [job.identity]
    node.breathe()
    return node, job


def quiet_for(desk: Desk, node: Puppet, who: AttemptId, minutes: float, passed_ms: int = 30_000) -> None:
    """A heartbeat with these signs after so much time, and a look of the watch."""
    desk.turn(passed_ms)
    node.heartbeat(signs=(Signs(identity=who, output_ms=int(minutes * MIN)),))
    look(desk)


def look(desk: Desk, ms: int = 0) -> None:
    desk.core.live.health.due_ms = 0
    desk.turn(ms)


def told(desk: Desk) -> list[tuple[str, str]]:
    lines = [one for one in desk.rows(Decision, run="r-0001") if one.kind == HEALTH]
    return [(one.verdict, one.what) for one in lines]


def asked_about(desk: Desk) -> list[Need]:
    """Return what needs a user, without the node, whose clock the test moves."""
    return [one for one in list_needs(desk.core, []) if one.node is None]


def test_a_quiet_agent_is_warned_of_told_once_and_asked_about(desk: Desk) -> None:
    node, job = at_work(desk)
    who = job.identity
    quiet_for(desk, node, who, 14)
    assert told(desk) == [] and not asked_about(desk)
    quiet_for(desk, node, who, 15)
    assert told(desk) == [("quiet", "no sign of life for 15 min")]
    (said,) = [one.body for one in node.controls() if isinstance(one.body, UserMessage)]
    assert "PanCode says this, and no user" in said.text and "15 min" in said.text
    for minutes in range(16, 30):
        quiet_for(desk, node, who, minutes, 60_000)
    assert len(told(desk)) == 1 and not asked_about(desk)
    quiet_for(desk, node, who, 30)
    assert [state for state, _ in told(desk)] == ["quiet", "stuck"]
    (asks,) = asked_about(desk)
    assert (asks.run, asks.command) == ("r-0001", "pancode runs stop r-0001")
    assert asks.headline.startswith("is builder stuck? no output for 30 min")
    assert len(desk.rows(StoredMessage, run="r-0001")) == 1, "words are said once"
    assert desk.row(Run, "r-0001").outcome is None, "nothing is stopped by itself"
    events = [one for one in desk.rows(FeedEvent) if one.kind is EventKind.RUN_HEALTH]
    assert [occasion_of(one) for one in events] == [None, RUN_WAITS], "only the question is a notice"


def test_what_is_stuck_is_reported_within_a_minute_of_its_limit(desk: Desk) -> None:
    """With the heartbeats and the looks as they come by themselves."""
    node, job = at_work(desk, "claude")
    begun, limit = desk.clock.ms, desk.rules.health.stuck_ms
    while desk.clock.ms - begun < limit + MIN:
        quiet_ms = desk.clock.ms - begun
        node.heartbeat(signs=(Signs(identity=job.identity, output_ms=quiet_ms),))
        desk.turn(5_000)
    lines = {one.verdict: one.at_ms for one in desk.rows(Decision, run="r-0001") if one.kind == HEALTH}
    at = lines["stuck"] - (desk.clock.wall_ms() - desk.clock.ms) - begun
    assert limit <= at <= limit + MIN
    warned = lines["quiet"] - (desk.clock.wall_ms() - desk.clock.ms) - begun
    assert desk.rules.health.warn_ms <= warned <= desk.rules.health.warn_ms + MIN


def test_it_is_in_the_story_and_the_table_and_goes_with_its_end(desk: Desk) -> None:
    node, job = at_work(desk)
    quiet_for(desk, node, job.identity, 31)
    assert "stuck: no output for 31 min; no CPU use seen" in explain_run(desk.core, "r-0001")["now"]
    found = get_health(desk.core)
    (agent,), (machine,) = found["agents"], found["machines"]
    assert (found["well"], agent["state"], agent["gravity"]) == (False, "stuck", "person")
    assert (machine["node"], machine["state"], machine["gravity"]) == ("n1", "working", "well")
    node.deliver(job)
    desk.turn()
    assert get_health(desk.core)["well"] and get_health(desk.core)["agents"] == []
    assert not [one for one in asked_about(desk) if "stuck" in one.headline]


def test_a_restart_of_the_coordinator_repeats_neither_warning_nor_words(desk: Desk) -> None:
    node, job = at_work(desk)
    quiet_for(desk, node, job.identity, 16)
    desk.restart()
    quiet_for(desk, node, job.identity, 17, 60_000)
    assert len(told(desk)) == 1 and len(desk.rows(StoredMessage, run="r-0001")) == 1


def test_a_program_that_takes_no_words_is_only_asked_about(desk: Desk) -> None:
    node, job = at_work(desk, "claude")
    quiet_for(desk, node, job.identity, 16)
    quiet_for(desk, node, job.identity, 31, 15 * MIN)
    assert [state for state, _ in told(desk)] == ["quiet", "stuck"] and not desk.rows(
        StoredMessage, run="r-0001"
    )


def test_a_run_that_its_provider_limits_shows_until_when_and_one_that_only_waits_is_no_row(
    desk: Desk,
) -> None:
    node, job = at_work(desk)
    node.deliver(job, **failed(FailureKind.MODEL_BUSY, Outcome.INFRA))
    desk.turn()
    desk.dispatch("r-0002", runtime="native")
    desk.turn()
    (row,) = get_health(desk.core)["agents"]
    assert (row["run"], row["state"], row["gravity"]) == ("r-0001", "rate limit", "well")
    assert row["until"] == format_optional_iso(desk.row(Run, "r-0001").retry_at_ms)


def test_a_machine_that_is_not_heard_is_no_stuck_agent(desk: Desk) -> None:
    node, job = at_work(desk)
    quiet_for(desk, node, job.identity, 14)
    for _ in range(100):
        desk.turn(5_000)
    assert told(desk) == []
    found = get_health(desk.core)
    assert (found["agents"][0]["state"], found["machines"][0]["gravity"]) == ("not heard", "person")


def fail(desk: Desk, *who: tuple[str, str, FailureKind], **more: Any) -> None:
    at = desk.clock.wall_ms()
    desk.core.live.ended_tries += [
        EndedTry(at, at - 5, "r-0009", agent, "t", node, "", failure, own=False, **more)
        for agent, node, failure in who
    ]


def test_several_failures_within_a_minute_pause_the_fleet_once_and_ask(desk: Desk) -> None:
    broken, gone = FailureKind.AGENT_FAILED, FailureKind.PROCESS_VANISHED
    fail(
        desk, ("mason", "n1", broken), ("mason", "n2", broken), ("scribe", "n3", gone), ("smith", "n3", gone)
    )
    look(desk, 10_000)
    assert desk.row(Setting, "paused") is None, "one agent, and one machine"
    fail(desk, ("scribe", "n1", broken))
    look(desk, 10_000)
    assert "mason, n3, scribe" in desk.row(Setting, "paused").value
    (asks,) = asked_about(desk)
    assert asks.command == "pancode fleet resume --queue" and "3 agents or nodes failed" in asks.headline
    (event,) = [one for one in desk.rows(FeedEvent) if one.kind is EventKind.FLEET_PAUSED]
    assert occasion_of(event) == RUN_WAITS
    pause_queue(desk.core, None, None, "ana")
    look(desk, 10_000)
    assert desk.row(Setting, "paused") is None, "who has resumed it has seen these"


def test_failures_that_are_not_together_pause_nothing(desk: Desk) -> None:
    for agent in ("mason", "scribe", "smith"):
        fail(desk, (agent, "n1", FailureKind.AGENT_FAILED))
        look(desk, 31_000)
    assert desk.row(Setting, "paused") is None
