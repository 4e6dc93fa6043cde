"""The workflows and lanes that a restored ledger holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pancode.kernel.formatting import first_few
from pancode.kernel.ports import Transaction
from pancode.runs.core import Core
from pancode.runs.features import Features, HeldThing
from pancode.runs.restored.hold import DROPPED
from pancode.workflows import store as rows
from pancode.workflows.actions import stop_workflow
from pancode.workflows.lane_service import pause_lane
from pancode.workflows.records import Workflow, WorkflowKind
from pancode.workflows.rules import OPEN


def find_held(core: Core, tx: Transaction) -> Iterator[HeldThing]:
    """Yield the open workflows, and the lanes that have open items."""
    for state in OPEN:
        for one in tx.find(Workflow, {"state": state}):
            left = [step.name for step in rows.steps_of(tx, one.id) if not step.state.is_over]
            drop: Callable[[str], object] = partial(stop_workflow, core, one.id, DROPPED)
            if one.kind is WorkflowKind.LANE:
                drop = partial(pause_lane, core, one.name, reason=DROPPED)
            if left:
                what = f"{one.name}: {first_few(left, 3)} left"
                yield HeldThing(one.id, str(one.kind), what, one.created_ms, drop, has_steps=True)


FEATURE = Features(held=(find_held,))
