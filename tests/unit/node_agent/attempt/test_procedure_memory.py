"""What a node agent keeps in memory of a run: nothing once it is over, but for the journal's entry."""

from __future__ import annotations

import gc

from node_agent.attempt.context import Case
from node_agent.wire.failure import Outcome
from node_agent.wire.identity import AttemptId
from tests.unit.node_agent.stage import LONG, Stage, identity, job_of


def test_of_a_run_that_is_over_nothing_is_kept() -> None:
    """A node agent does many thousands of them."""
    going, over = identity(run="r-going"), identity(run="r-over")
    stages = [Stage(script=lambda _: LONG), Stage()]
    for stage, one in zip(stages, (going, over), strict=True):
        stage.push(job_of(identity=one))
        stage.go(30_000)
    assert stages[1].claims[str(over)].outcome is Outcome.DONE
    assert (_cases_of(going), _cases_of(over)) == (1, 0)


def _cases_of(one: AttemptId) -> int:
    gc.collect()
    return sum(isinstance(each, Case) and each.identity == one for each in gc.get_objects())
