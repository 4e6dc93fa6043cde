"""Derives the events of the feed from a decision's changes, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pancode.core import books
from pancode.core.records import ActionKind, EventKind, Run, RunState
from pancode.life.changes import Changes
from pancode.life.inbox import item_of
from pancode.life.verified import KEPT, verified


@dataclass(frozen=True, slots=True)
class Happened:
    """One event without its number."""

    kind: EventKind
    run: str | None = None
    node: str | None = None
    data: dict[str, object] = field(default_factory=dict)


def events_of(made: Changes) -> Iterator[Happened]:
    """The events in the order in which the feed tells them."""
    run, was = made.run, made.before.run
    if made.fresh:
        yield _of(run, EventKind.RUN_QUEUED, agent=run.agent, task=run.task[:200], parent=run.parent)
    for fence in made.placed:
        yield _of(run, EventKind.RUN_PLACED, fence.node, fence=fence.fence)
    for staged in made.stages:
        data = {"fence": staged.fence.fence, "stage": staged.stage.value, "detail": staged.detail}
        yield _of(run, EventKind.RUN_STAGE, staged.fence.node, **data)
    if run.attempt > was.attempt:
        yield _of(run, EventKind.RUN_RETRY, reason=run.reason)
    yield from _by_state(made)
    yield from _inbox(made)
    landing = ActionKind.LAND
    asked = made.case.action(landing)
    if asked is not None and asked != made.before.action(landing):
        yield _of(run, EventKind.RUN_LANDING, status="waiting", commit=None)
    elif (run.landing, run.landed) != (was.landing, was.landed):
        yield _of(run, EventKind.RUN_LANDING, status=run.landing.get("status"), commit=run.landed)
    seen = verified(run)
    if seen is not None and run.result.get(KEPT) != was.result.get(KEPT):
        yield _of(run, EventKind.RUN_VERIFIED, seen.node, status=seen.state.value, waits=seen.waits)


def _inbox(made: Changes) -> Iterator[Happened]:
    """An item of the inbox begins, ends, or is replaced by another one."""
    asks, was = made.case.action(ActionKind.PERSON), made.before.action(ActionKind.PERSON)
    if was is not None and asks != was:
        yield Happened(EventKind.INBOX_ANSWERED, made.run.id, _node(made.run))
    if asks is not None and asks != was:
        item = item_of(made.run, asks)
        data: dict[str, object] = {
            "kind": item.kind.value,
            "words": item.words[:200],
            "command": item.command,
        }
        yield Happened(EventKind.INBOX_ITEM, made.run.id, _node(made.run), data)


def _by_state(made: Changes) -> Iterator[Happened]:
    run, was = made.run, made.before.run
    if made.ended:
        usage = books.used_by(run.result.get("usage"))
        data: dict[str, object] = {"outcome": run.outcome, "failure": run.failure, "tokens": usage.tokens}
        if run.judges is not None:
            data["judges"] = run.judges
        yield _of(run, EventKind.RUN_ENDED, _node(run), **data, reason=run.reason)
        return
    if run.state is RunState.INTERRUPTING and was.state is not RunState.INTERRUPTING:
        yield _of(run, EventKind.RUN_STOPPING, reason=run.reason)
    if run.waits is not None and (run.waits, run.reason) != (was.waits, was.reason):
        yield _of(run, EventKind.RUN_WAITS, waits=run.waits.value, reason=run.reason)
    known = made.before.attempts.get(made.attempt.attempt)
    if known is not None and made.attempt.usage != known.usage:
        cost, used = books.known_cost(made.attempt.usage), books.used_by(made.attempt.usage)
        usd = None if cost is None else f"{cost:f}"
        yield _of(run, EventKind.RUN_USAGE, tokens=used.tokens, cost_usd=usd)


def _node(run: Run) -> str | None:
    node = run.result.get("node")
    return node if isinstance(node, str) else None


def _of(run: Run, kind: EventKind, node: str | None = None, **data: object) -> Happened:
    """The run's events; each says in which state the run is, and to which workflow it belongs."""
    place: dict[str, object] = {"state": run.state.value, "attempt": run.attempt}
    if run.workflow is not None:
        place |= {"workflow": run.workflow, "step": run.step}
    return Happened(kind, run.id, node, {**place, **data})
