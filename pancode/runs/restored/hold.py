"""Holds what a restored ledger has as pending until a user releases it, as it may have been done since."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from node_agent.wire.identity import AttemptId
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, FeedEvent, Run, RunState, Setting, WaitReason
from pancode.runs.features import features_of
from pancode.runs.life.jobs import NUMBERS_IN_AN_EPOCH
from pancode.runs.unit_of_work import Work

HOLD = "hold"
"""The setting with the hold of a restored ledger."""

DROPPED = "dropped after the restore"
WHY_HELD = "held since the fleet was restored; to decide: pancode fleet resume --held"
WHY_ASKED = "a node reports first what it did, as the fleet may have been restored; at most a minute"


class AskedNode(BaseModel):
    """How far a node has reported its attempts. `complete_since_ms`: from when on its report has all of them;
    None: the report has not ended. `is_over`: whether all runs of its pages so far that the ledger lacks have
    ended."""

    model_config = ConfigDict(frozen=True)
    after: AttemptId | None = None
    is_over: bool = True
    complete_since_ms: int | None = None


class LedgerHold(BaseModel):
    """What is held since a restore. `since_ms`: the time of the newest event that the restored ledger has;
    `names`: of runs, workflows and other things that begin nothing; `asked`: the nodes, by tag."""

    model_config = ConfigDict(frozen=True)
    begun_ms: int
    since_ms: int
    names: frozenset[str] = frozenset()
    asked: Mapping[str, AskedNode] = {}

    def find_progress(self, tag: str | None) -> AskedNode:
        """Return how far the node with this tag has reported its attempts since the restore."""
        return self.asked.get(tag or "", AskedNode())

    def has_heard(self, tag: str | None) -> bool:
        """Whether the node with this tag has reported all its attempts since the restore."""
        return self.find_progress(tag).complete_since_ms is not None


def read_hold(tx: Transaction) -> LedgerHold | None:
    """Return the hold; None for a ledger that was never restored."""
    found = tx.get(Setting, HOLD)
    return None if found is None else LedgerHold.model_validate(found.value)


def write_hold(work: Work, hold: LedgerHold) -> None:
    value = hold.model_dump(mode="json") | {"names": sorted(hold.names)}
    work.tx.put(Setting(HOLD, value, work.core.wall_ms(), "coordinator"))


def list_held(tx: Transaction) -> frozenset[str]:
    """Return the names of all that must not begin anything."""
    hold = read_hold(tx)
    return frozenset() if hold is None else hold.names


def begin_hold(work: Work, why: str, *, has_led: bool) -> None:
    """Hold all that the ledger has as pending now; every node will be asked what it knows. `has_led`: a
    coordinator has led the fleet with this ledger since the restore; the events of its epoch are left out."""
    core, tx = work.core, work.tx
    events = tx.find(FeedEvent, order="number", descending=True)
    restored = (one.at_ms for one in events if not has_led or one.number < core.epoch * NUMBERS_IN_AN_EPOCH)
    since_ms = next(restored, 0)
    known = read_hold(tx)
    # A run that waits for a user's approval begins when the user gives it.
    open_runs = (tx.find(Run, {"state": state}) for state in RunState if state is not RunState.ENDED)
    names = {run.id for runs in open_runs for run in runs if run.waits is not WaitReason.USER}
    names |= {action.run for action in tx.find(Action) if action.kind is not ActionKind.USER}
    names |= {thing.name for find in features_of(core).held for thing in find(core, tx)}
    if known is not None:
        names, since_ms = names | known.names, min(since_ms, known.since_ms)
    write_hold(work, LedgerHold(begun_ms=core.wall_ms(), since_ms=since_ms, names=frozenset(names)))
    if names:
        what = f"the ledger was restored: {len(names)} pending things are held"
        work.audit("fleet", "warning", what, why=why, fix="pancode fleet resume --held")
