"""Runs the gates of a landing: a node prepares the merged tree and judges it, as in any other run."""

from __future__ import annotations

from dataclasses import MISSING, fields
from decimal import Decimal
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.ports import Transaction
from pancode.core.records import Node, Run, RunState
from pancode.core.values import replace
from pancode.dispatch.dispatch import HISTORY, admit, new_id
from pancode.life.placement import can_be_had, misfit

_FRESH: dict[str, Any] = {
    one.name: one.default if one.default_factory is MISSING else one.default_factory()
    for one in fields(Run)
    if one.default is not MISSING or one.default_factory is not MISSING
}
"""The fields of a run before it has any result."""
_OF_A_MODEL = ("tokens", "usd", "requests", "wrap_up", "turns")


def reserve(core: Core) -> str:
    """An id for the run that will judge a landing."""
    with core.lock:
        return new_id(core)


def known(core: Core, run: Run, snapshot: str) -> str | None:
    """The run that has judged this very tree for it, or does: a coordinator of before may have begun it."""
    with core.ports.ledger.transaction() as tx:
        found = tx.find(Run, order="created_ms", descending=True, limit=HISTORY)
    mine = (one for one in found if one.judges == run.id)
    same = (one for one in mine if one.workspace.get("snapshot") == snapshot and one.stop_asked is None)
    return next((one.id for one in same if one.outcome in (None, Outcome.DONE)), None)


def begin(core: Core, run: Run, gate_id: str, snapshot: str, by: str) -> Run:
    """Queue a run that does nothing but be prepared and judged as `run` was; RefusedError without budget.

    On the machine that had the run where that can be had, as its set-up is kept there.
    """
    judging = judging_run(core, run, gate_id, snapshot, by)
    with core.lock, unit_of_work(core) as work:
        judging = admit(work, replace(judging, node=_at_home(core, work.tx, run, judging)))
        work.tell(run.id, "land", f"gates on the merged tree: {gate_id}", "begun", by)
    return judging


def judging_run(core: Core, run: Run, gate_id: str, snapshot: str, by: str) -> Run:
    """A run that is prepared and judged as `run` was, at another commit, and has no agent."""
    limits = {name: None if name in _OF_A_MODEL else value for name, value in run.limits.items()}
    return replace(
        run,
        **{
            **_FRESH,
            "id": gate_id,
            "created_ms": core.wall_ms(),
            "created_by": by,
            "task": f"gates of the landing of {run.id}",
            "argv": ("true",),
            "prompt": "",
            "runtime": "shell",
            "model": None,
            "read_only": False,
            "workspace": {**run.workspace, "snapshot": snapshot, "folder": ""},
            "limits": {**limits, "wrap_up": False},
            "estimate_usd": Decimal(0),
            "max_attempts": None,
            "on_lost": "retry",
            "rules": run.rules,
            "terms": {"judges": run.id, "walled": bool(run.terms.get("walled"))},
        },
    )


def _at_home(core: Core, tx: Transaction, run: Run, judging: Run) -> str | None:
    name = run.result.get("node")
    node = tx.get(Node, name) if isinstance(name, str) else None
    if node is None or node.removed is not None:
        return None
    view = core.view_of(node)
    return node.name if can_be_had(view) and not misfit(replace(judging, node=None), view) else None


def ended(core: Core, gate_id: str) -> Run | None:
    """The run that judges, once it has come to its end."""
    with core.ports.ledger.transaction() as tx:
        found = tx.get(Run, gate_id)
    return found if found is not None and found.state is RunState.ENDED else None
