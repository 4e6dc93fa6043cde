"""Decides which runs `land --all-green` lands."""

from __future__ import annotations

from node_agent.wire.failure import Outcome
from pancode.core.records import Run
from pancode.life.continuing import has_change, nexts
from pancode.life.verified import ResultTrust, verified

CLOSED = ("denied", "dropped", "nothing to land")


def is_green(run: Run, project: str) -> bool:
    """Whether the run is done, passed its gates, has a change, and nobody has landed it or gone on from it.

    A result that another node disputes, or has still to judge, is not green.
    """
    seen = verified(run)
    if seen is None or seen.waits or seen.state is ResultTrust.DISPUTED:
        return False
    done = run.outcome is Outcome.DONE and bool(run.gates) and gates_passed(run)
    return done and is_open(run, project)


def is_open(run: Run, project: str) -> bool:
    """Whether the run has ended with a change that nobody has landed, denied, dropped or continued."""
    mine = run.project == project and run.judges is None and run.landed is None
    open_still = not nexts(run) and run.landing.get("status") not in CLOSED
    return mine and run.outcome is not None and open_still and has_change(run)


def gates_passed(run: Run) -> bool:
    """Whether its accepted receipt says that each of its gates has passed."""
    gates = run.result.get("gates")
    results = [one for one in gates if isinstance(one, dict)] if isinstance(gates, list | tuple) else []
    return len(results) >= len(run.gates) and all(one.get("passed") for one in results)
