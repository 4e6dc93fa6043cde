"""State tables of a run and a fence, and the moves that they allow."""

from __future__ import annotations

from node_agent.wire.identity import Mark
from pancode.core.records import Closed, Fence, FenceState, Run, RunState
from pancode.core.values import replace

MAX_BINDINGS = 12
"""Fences of one attempt that may come back in one epoch before the run is given up; waits are not counted."""

RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.RUNNING, RunState.INTERRUPTING, RunState.ENDED}),
    RunState.RUNNING: frozenset(
        {RunState.PENDING, RunState.INTERRUPTING, RunState.COLLECTING, RunState.ENDED}
    ),
    # Back to pending: the node interrupted it for a limit, nobody asked for a stop, it may be tried again.
    RunState.INTERRUPTING: frozenset({RunState.PENDING, RunState.COLLECTING, RunState.ENDED}),
    RunState.COLLECTING: frozenset({RunState.PENDING, RunState.INTERRUPTING, RunState.ENDED}),
    RunState.ENDED: frozenset({RunState.ENDED}),
}
"""The run's state table. `ended` to `ended` is the one exception: `lost` replaced by a verified receipt."""

FENCE_MOVES: dict[FenceState, frozenset[FenceState]] = {
    FenceState.OFFERED: frozenset({FenceState.ACCEPTED, FenceState.RUNNING, FenceState.CLOSED}),
    FenceState.ACCEPTED: frozenset({FenceState.RUNNING, FenceState.CLOSED}),
    FenceState.RUNNING: frozenset({FenceState.CLOSED}),
    FenceState.CLOSED: frozenset({FenceState.CLOSED}),
}
"""The fence's state table. `closed` to `closed`: a lost fence whose receipt came after all."""

NOT_STARTED: dict[str, object] = {"cost_usd": "0", "cost_source": "not started"}
"""The usage of an attempt that never ran, by the word of its node or by our own books."""
PUBLISHING = frozenset({Mark.GATED, Mark.PUSHED, Mark.RECEIPTED, Mark.ACKNOWLEDGED, Mark.REJECTED})
"""At these marks the agent has ended its work, and its slot is free."""


def move_run(run: Run, state: RunState) -> Run:
    """The run in its new state; ValueError when the table has no such move."""
    if state is run.state:
        return run
    if state not in RUN_MOVES[run.state]:
        raise ValueError(f"run {run.id}: {run.state} cannot become {state}")
    return replace(run, state=state)


def close_fence(fence: Fence, how: Closed, wall_ms: int) -> Fence:
    return replace(fence, state=FenceState.CLOSED, closed=how, closed_ms=wall_ms)


def holds_slot(fence: Fence) -> bool:
    """Whether an open fence still occupies a slot of its node."""
    return fence.state is not FenceState.CLOSED and fence.mark not in PUBLISHING
