"""What a node's word changes in a run: pure transitions of run, attempt and fence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from node_agent.wire.event import EventBody, Finding, Interrupting, Marked, Progress, Refused, Revoked
from node_agent.wire.failure import (
    ELSEWHERE,
    FAILURES,
    NODE_STATES,
    REBINDABLE,
    FailureKind,
    OrderRefusal,
    Outcome,
)
from node_agent.wire.marks import ORDER as MARKS
from node_agent.wire.marks import Mark
from pancode.domain.records import Attempt, Closed, Fence, FenceState, Run, RunState, WaitReason
from pancode.domain.settlement import excess
from pancode.domain.values import replace

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
"""Usage of an attempt of which its node, or our own books, say that it never ran."""
_RANK = {mark.value: number for number, mark in enumerate(MARKS)}
_REBIND = frozenset({*REBINDABLE, *ELSEWHERE, OrderRefusal.REVOKED})
"""A node that is taken out of the fleet refuses what it was offered last; another one may take it."""
PUBLISHING = frozenset({Mark.GATED, Mark.PUSHED, Mark.RECEIPTED, Mark.ACKNOWLEDGED, Mark.REJECTED})
_COLLECTING = frozenset({Mark.EXITED, Mark.COMMITTED, *PUBLISHING})


@dataclass(frozen=True, slots=True)
class Trio:
    """A run with the attempt and the fence that a word is about."""

    run: Run
    attempt: Attempt
    fence: Fence
    vain: int = 0
    """How many earlier fences of the attempt came back in this epoch, waits not counted."""

    @property
    def newest(self) -> bool:
        """Whether this fence is the run's newest: only its word moves the run."""
        return self.fence.fence == self.run.fence


@dataclass(frozen=True, slots=True)
class Moved:
    """What an event changes, and what is to be written into the run's story."""

    trio: Trio
    story: str = ""
    verdict: str = ""
    free: bool = False
    """The fence was closed without a receipt: its attempt may be bound again or has ended."""


def move_run(run: Run, state: RunState) -> Run:
    """The run in its new state; ValueError where the table has no such move."""
    if state is run.state:
        return run
    if state not in RUN_MOVES[run.state]:
        raise ValueError(f"run {run.id}: {run.state} cannot become {state}")
    return replace(run, state=state)


def apply_event(trio: Trio, seq: int, body: EventBody, wall_ms: int) -> Moved:
    """One event, in order (the caller has checked that `seq` is the cursor plus one)."""
    trio = replace(trio, fence=replace(trio.fence, cursor=seq))
    if trio.fence.state is FenceState.CLOSED:
        return Moved(_late(trio, body))
    match body:
        case Marked():
            return _marked(trio, body, wall_ms)
        case Refused():
            return _refused(trio, body, wall_ms)
        case Revoked():
            return _revoked(trio, body, wall_ms)
        case Interrupting():
            return _interrupting(trio, body)
        case Progress():
            body = body.model_copy(update=excess(body, trio.run.limits))
            usage = {**trio.attempt.usage, **body.model_dump(mode="json", exclude={"kind"})}
            return Moved(replace(trio, attempt=replace(trio.attempt, usage=usage)))
        case Finding():
            return Moved(trio, body.text, body.level)
        case _:
            assert_never(body)


def _late(trio: Trio, body: EventBody) -> Trio:
    """A lost order of which its node says that it never ran: nothing of it can be out there any more."""
    if trio.fence.closed is Closed.LOST and isinstance(body, Refused | Revoked):
        return replace(trio, fence=replace(trio.fence, closed=Closed.REVOKED))
    return trio


def holds_slot(fence: Fence) -> bool:
    """Whether an open fence still occupies a slot of its node."""
    return fence.state is not FenceState.CLOSED and fence.mark not in PUBLISHING


def _marked(trio: Trio, body: Marked, wall_ms: int) -> Moved:
    rank = _RANK.get(body.mark)  # `refused` and `rejected` are told by their own events, never as a mark
    if rank is None or rank <= _RANK.get(trio.fence.mark, -1):
        return Moved(trio)
    state = FenceState.ACCEPTED if body.mark in (Mark.ACCEPTED, Mark.PREPARED) else FenceState.RUNNING
    fence = replace(trio.fence, mark=body.mark.value, state=state)
    run = trio.run
    if trio.newest and run.state in (RunState.PENDING, RunState.RUNNING, RunState.COLLECTING):
        run = _advance(run, fence, body.mark, wall_ms)
    return Moved(replace(trio, run=run, fence=fence))


def _advance(run: Run, fence: Fence, mark: Mark, wall_ms: int) -> Run:
    if mark in _COLLECTING:
        run = move_run(
            move_run(run, RunState.RUNNING) if run.state is RunState.PENDING else run, RunState.COLLECTING
        )
        return replace(run, reason=f"{mark} on {fence.node}", waits=None)
    run = move_run(run, RunState.RUNNING)
    started = wall_ms if mark is Mark.SPAWNED and run.started_ms is None else run.started_ms
    return replace(run, reason=f"{mark} on {fence.node}", waits=None, started_ms=started)


def _interrupting(trio: Trio, body: Interrupting) -> Moved:
    run = trio.run
    if trio.newest and run.state in (RunState.PENDING, RunState.RUNNING, RunState.COLLECTING):
        run = replace(move_run(run, RunState.INTERRUPTING), reason=body.reason, waits=None)
    return Moved(replace(trio, run=run), body.reason, "interrupting")


def close_fence(fence: Fence, how: Closed, wall_ms: int) -> Fence:
    return replace(fence, state=FenceState.CLOSED, closed=how, closed_ms=wall_ms)


def _refused(trio: Trio, body: Refused, wall_ms: int) -> Moved:
    waits = body.why in NODE_STATES
    fence = close_fence(trio.fence, Closed.NOT_NOW if waits else Closed.REFUSED, wall_ms)
    story = f"{fence.node} refused the order: {body.why} ({body.detail})"
    moved = Moved(replace(trio, fence=fence), story, "refused", free=True)
    if not trio.newest or trio.run.state is RunState.ENDED:
        return moved
    if trio.run.stop_asked is not None or body.why in (OrderRefusal.STOPPED, OrderRefusal.TOMBSTONED):
        return _ended(moved, FailureKind.STOPPED, trio.run.stop_asked or story, wall_ms)
    if waits or (body.why in _REBIND and trio.vain + 1 < MAX_BINDINGS):
        return replace(moved, trio=replace(moved.trio, run=back_to_queue(trio.run, story)))
    kind = (
        FailureKind.RUNTIME_MISSING if body.why is OrderRefusal.RUNTIME_MISSING else FailureKind.NODE_INTERNAL
    )
    return _ended(moved, kind, story, wall_ms)


def _revoked(trio: Trio, body: Revoked, wall_ms: int) -> Moved:
    fence = close_fence(trio.fence, Closed.REVOKED, wall_ms)
    moved = Moved(
        replace(trio, fence=fence), f"{fence.node} never started it: {body.reason}", "revoked", True
    )
    if not trio.newest or trio.run.state is RunState.ENDED:
        return moved
    return _ended(moved, FailureKind.STOPPED, body.reason, wall_ms)


def never_accepted(trio: Trio, wall_ms: int) -> Moved:
    """The node's journal, told after start-by, does not name this fence: it will never run there."""
    fence = close_fence(trio.fence, Closed.NEVER_ACCEPTED, wall_ms)
    story = f"{fence.node} never took the order; it may be bound again"
    moved = Moved(replace(trio, fence=fence), story, "never accepted", free=True)
    if not trio.newest or trio.run.state is RunState.ENDED:
        return moved
    if trio.run.stop_asked is not None:
        return _ended(moved, FailureKind.STOPPED, trio.run.stop_asked, wall_ms)
    if trio.vain + 1 >= MAX_BINDINGS:
        return _ended(moved, FailureKind.NODE_INTERNAL, story, wall_ms)
    return replace(moved, trio=replace(moved.trio, run=back_to_queue(trio.run, story)))


def back_to_queue(run: Run, reason: str) -> Run:
    """The same attempt waits for its next binding."""
    return replace(move_run(run, RunState.PENDING), reason=reason, waits=WaitReason.RETURNED)


def _ended(moved: Moved, kind: FailureKind, reason: str, wall_ms: int) -> Moved:
    trio = moved.trio
    attempt = end_attempt(trio.attempt, FAILURES[kind].outcome, kind, reason, wall_ms)
    attempt = replace(attempt, usage=NOT_STARTED)  # only what never ran ends without a receipt here
    run = end_run(trio.run, attempt, {}, wall_ms)
    return replace(moved, trio=replace(trio, attempt=attempt, run=run))


def end_attempt(
    attempt: Attempt, outcome: Outcome, kind: FailureKind | None, reason: str, wall_ms: int
) -> Attempt:
    return replace(attempt, outcome=outcome, failure=kind, reason=reason, finished_ms=wall_ms)


def end_run(run: Run, attempt: Attempt, result: dict[str, object], wall_ms: int) -> Run:
    """The run takes the outcome of its last attempt."""
    return replace(
        move_run(run, RunState.ENDED),
        outcome=attempt.outcome,
        failure=attempt.failure,
        reason=attempt.reason,
        waits=None,
        result={**run.result, **result},
        finished_ms=wall_ms,
        retry_at_ms=None,
    )
