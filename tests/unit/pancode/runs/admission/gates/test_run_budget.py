"""What a run's own limit has left for its children: they never get more than it together."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.event import Progress
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.receipt import Usage
from pancode.kernel.records import Run
from pancode.runs.remaining_budget import left_for_children
from pancode.runs.stop import stop_run
from tests.unit.pancode.runs.world import Desk, Puppet, facts, failed

SIZES = {"wall_ms": 60_000, "idle_ms": 60_000, "output_bytes": 1_000_000}


@pytest.fixture
def coordinator() -> Desk:
    return Desk(ceiling="100")


@pytest.fixture
def node(coordinator: Desk) -> Puppet:
    made = Puppet(coordinator, slots=8)
    made.facts = facts(runtimes=(made.facts.runtimes[0].model_copy(update={"name": "claude"}),))
    made.breathe()
    return made


def put(coordinator: Desk, run: str, usd: str, estimate: str = "0.02", **more: Any) -> None:
    limits = {**SIZES, "usd": usd}
    coordinator.dispatch(run, estimate, **{"runtime": "claude", "told_only": True, "limits": limits, **more})
    coordinator.turn()


def begin(coordinator: Desk, node: Puppet) -> Job:
    job = node.take()
    node.start(job)
    coordinator.turn()
    return job


def end(coordinator: Desk, node: Puppet, job: Job, usd: str | None, **more: Any) -> None:
    cost = Usage() if usd is None else Usage(cost_usd=Decimal(usd), cost_source="reported")
    node.deliver(job, usage=cost, **more)
    coordinator.turn()


def left(coordinator: Desk, run: str = "r-paren") -> Decimal | None:
    with coordinator.ledger.transaction() as tx:
        return left_for_children(tx, desk_run(tx.get(Run, run)))


def desk_run(found: Run | None) -> Run:
    assert found is not None
    return found


def test_one_without_a_limit_gives_what_they_ask_for(coordinator: Desk) -> None:
    coordinator.dispatch("r-paren")
    assert left(coordinator) is None


def test_a_child_that_has_not_ended_may_yet_use_up_its_limit(coordinator: Desk, node: Puppet) -> None:
    put(coordinator, "r-paren", "1", estimate="1")
    assert left(coordinator) == 1
    put(coordinator, "r-chil1", "0.60", parent="r-paren", depth=1)
    assert left(coordinator) == Decimal("0.40"), "whatever it is thought to cost"
    put(coordinator, "r-chil2", "0.40", parent="r-paren", depth=1)
    assert left(coordinator) == 0


def test_an_ended_child_counts_what_all_its_attempts_cost(coordinator: Desk, node: Puppet) -> None:
    put(coordinator, "r-paren", "1", node="nowhere")
    put(coordinator, "r-chil1", "1", parent="r-paren", depth=1)
    end(coordinator, node, begin(coordinator, node), "0.30", **failed(FailureKind.MODEL_BUSY, Outcome.INFRA))
    assert left(coordinator) == 0, "it is tried again"
    coordinator.clock.ms += 40_000
    node.breathe()
    end(coordinator, node, begin(coordinator, node), "0.25")
    assert coordinator.row(Run, "r-chil1").outcome is Outcome.DONE
    assert left(coordinator) == Decimal("0.45")


def test_what_nobody_knows_counts_as_what_is_held_for_it(coordinator: Desk, node: Puppet) -> None:
    put(coordinator, "r-paren", "1", node="nowhere")
    put(coordinator, "r-chil1", "1", estimate="0.35", parent="r-paren", depth=1)
    end(coordinator, node, begin(coordinator, node), None)
    assert left(coordinator) == Decimal("0.65")


def test_a_child_that_was_stopped_before_its_start_has_cost_nothing(coordinator: Desk, node: Puppet) -> None:
    put(coordinator, "r-paren", "1", node="nowhere")
    put(coordinator, "r-chil1", "1", estimate="0.75", parent="r-paren", depth=1, node="nowhere")
    stop_run(coordinator.core, "r-chil1", "not needed")
    coordinator.turn()
    assert coordinator.row(Run, "r-chil1").outcome is Outcome.INTERRUPTED
    assert left(coordinator) == 1


def test_what_the_parent_has_cost_itself_is_gone(coordinator: Desk, node: Puppet) -> None:
    put(coordinator, "r-paren", "1", estimate="1")
    end(coordinator, node, begin(coordinator, node), "0.30", **failed(FailureKind.MODEL_BUSY, Outcome.INFRA))
    assert left(coordinator) == Decimal("0.70"), "its earlier attempts"
    coordinator.clock.ms += 40_000
    node.breathe()
    job = begin(coordinator, node)
    node.say(job.identity, Progress(input_tokens=1, output_tokens=1, cost_usd=Decimal("0.20")))
    coordinator.turn()
    assert left(coordinator) == Decimal("0.50"), "what its node has told of the one that runs"
    end(coordinator, node, job, "0.25")
    assert left(coordinator) == Decimal("0.45")


def test_grandchildren_share_what_is_left_further_up(coordinator: Desk, node: Puppet) -> None:
    """A script of one's own claims nothing for itself, so its children come out of what is left above it."""
    put(coordinator, "r-paren", "1", node="nowhere")
    own = {"runtime": "shell", "estimate": "0", "node": "nowhere"}
    put(coordinator, "r-scrip", "1", parent="r-paren", depth=1, **own)
    assert left(coordinator) == 1 == left(coordinator, "r-scrip")
    put(coordinator, "r-chil1", "0.70", parent="r-paren", depth=1)
    assert left(coordinator) == Decimal("0.30") == left(coordinator, "r-scrip")
    put(coordinator, "r-grand", "0.30", parent="r-scrip", depth=2)
    assert left(coordinator) == 0 == left(coordinator, "r-scrip")


def test_what_a_child_has_as_its_own_is_not_taken_from_it_again(coordinator: Desk, node: Puppet) -> None:
    put(coordinator, "r-paren", "1", node="nowhere")
    put(coordinator, "r-chil1", "0.60", parent="r-paren", depth=1)
    put(coordinator, "r-chil2", "0.40", parent="r-paren", depth=1)
    assert left(coordinator) == 0
    assert left(coordinator, "r-chil1") == Decimal("0.60")
    with coordinator.ledger.transaction() as tx:
        tx.put(replace(desk_run(tx.get(Run, "r-paren")), limits=dict(SIZES)))
    assert left(coordinator, "r-chil1") == Decimal("0.60")
