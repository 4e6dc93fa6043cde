"""What a machine that lost its power, or was restarted, does with what it had begun."""

from __future__ import annotations

from node_agent.wire.event import Marked
from node_agent.wire.failure import FailureKind, Outcome
from tests.fakes.node import Crash, Script
from tests.unit.node_agent.attempt.test_procedure import ANEW, GATES, NAME, SETUP, WORK, at_every_point, gated
from tests.unit.node_agent.stage import Stage


def test_nothing_is_built_on_what_a_power_cut_has_torn() -> None:
    """What nothing was started of is laid out anew; what set-up had made is no ground for an agent."""
    before: list[list[str]] = []

    def power_cut(stage: Stage) -> None:
        before.append([*stage.host.spawns])
        stage.host.power_cut()
        stage.shelf.power_cut()
        raise Crash

    for where, stage in at_every_point(power_cut):
        stage.settle()
        claims = stage.claims[NAME]
        assert stage.host.built_on_torn == [], where
        if not before[-1]:
            assert claims.outcome is Outcome.DONE, (where, claims.reason)
            assert stage.host.spawns == [SETUP, WORK, ANEW, GATES], where
        elif before[-1] == [SETUP]:
            assert claims.failure is FailureKind.NODE_REBOOTED and claims.commit is None, where
            assert stage.host.spawns == [SETUP], where
        marks = [body.mark for body in stage.bodies() if isinstance(body, Marked)]
        assert len(marks) == len(set(marks)), where
    assert [] in before and [SETUP] in before


def test_what_a_restarted_machine_was_at_work_on_is_evidence_and_no_result() -> None:
    stage = Stage(script=lambda _: Script(duration_ms=60_000))
    stage.push(gated())
    assert stage.go(20_000, lambda: WORK in stage.host.spawns)
    stage.host.trees[NAME] = True  # it has written something
    stage.host.reboot()
    stage.agent = stage.start()
    stage.settle()
    claims = stage.claims[NAME]
    assert (claims.failure, claims.change, claims.commit) == (FailureKind.NODE_REBOOTED, "none", None)
    assert stage.depot.commits == {} and stage.host.salvaged == [NAME]
    assert any("saved files may be empty" in finding for finding in claims.findings)
