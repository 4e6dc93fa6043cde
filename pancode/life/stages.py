"""Where a run is now, as one word for programs: from its state and how far its newest order has come."""

from __future__ import annotations

from enum import StrEnum

from node_agent.wire.identity import Mark
from pancode.core.records import Fence, FenceState, Run, RunState


class RunStage(StrEnum):
    """The values of a run's `stage`."""

    WAITING = "waiting"
    PLACED = "placed"
    PREPARING = "preparing"
    RUNNING = "running"
    VERIFYING = "verifying"
    DELIVERING = "delivering"
    STOPPING = "stopping"
    ENDED = "ended"


_OF_MARK: dict[str, RunStage] = {
    Mark.ACCEPTED: RunStage.PREPARING,
    Mark.PREPARED: RunStage.PREPARING,
    Mark.SPAWNED: RunStage.RUNNING,
    Mark.EXITED: RunStage.VERIFYING,
    Mark.COMMITTED: RunStage.VERIFYING,
}


def stage_of(run: Run, fence: Fence | None) -> RunStage:
    """The stage of a run. `fence`: its newest one; None when it has none."""
    if run.state is RunState.ENDED:
        return RunStage.ENDED
    if run.state is RunState.INTERRUPTING:
        return RunStage.STOPPING
    if fence is None or fence.state is FenceState.CLOSED:
        return RunStage.WAITING
    if fence.state is FenceState.OFFERED:
        return RunStage.PLACED
    return _OF_MARK.get(fence.mark, RunStage.DELIVERING)
