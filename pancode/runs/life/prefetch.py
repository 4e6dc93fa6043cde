"""Decides which runs may wait on a node, handed over ahead of a free slot, and what they may cost there."""

from __future__ import annotations

from decimal import Decimal

from node_agent.wire.identity import Mark
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.records import Fence, FenceState, Run, Workflow, WorkflowKind
from pancode.runs.facets import Caller, ModelChoice

Line = tuple[int, int, str]


def waits_there(fence: Fence) -> bool:
    """Whether the order waits on its node for a slot, and so holds none, as far as the node has said."""
    return fence.state is not FenceState.CLOSED and (
        fence.mark == Mark.HELD or (fence.ahead and not fence.mark)
    )


def place_in_line(fence: Fence) -> Line:
    """The key by which a node sorts the orders that it holds: the smallest begins first."""
    return fence.bound_ms, fence.fence, fence.run


def why_it_stays(run: Run, workflow: Workflow | None) -> str:
    """Why the run waits with the coordinator and is not handed over, in words; empty: it may be."""
    if run.takes_turns:
        return "a session waits for a user's message"
    if run.parent is not None:
        return f"run {run.parent}, which began it, waits for it"
    if Caller.of(run).charged_to:
        return "its session pays for it"
    if run.holds_gpus:
        return "it holds a GPU from the order on"
    if run.judges is not None:
        return "it judges the result of another run"
    if workflow is not None and workflow.kind is WorkflowKind.RACE:
        return "in a race the first to pass wins, and the others are stopped"
    return ""


def asks_a_model(run: Run) -> bool:
    """Whether the run may cost money for a model."""
    is_own = RUNTIMES[run.runtime].own and not run.estimate_usd
    return not is_own and not ModelChoice.of(run).free


def cap_of(run: Run, left: Decimal | None, usual: Decimal, held: Decimal) -> Decimal | None:
    """The most USD that an attempt may cost once it is handed over; None: it pays for no model.

    `left`: of the run's own limit; None: it has none, and gets `usual`, or what it holds already if that is
    more.
    """
    if not asks_a_model(run):
        return None
    return max(usual, held) if left is None else left
