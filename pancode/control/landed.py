"""A run's change in its owner's tree: asked for with the dispatch, landed when it is done, written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.control.core import Core
from pancode.domain.records import Run, Setting
from pancode.errors import PancodeError
from pancode.ports import Transaction

ASKED = "land:"
"""Begins the name of a setting for each run whose change waits to be landed: it outlives the coordinator."""
LANDED, NOTHING, CALLED_OFF = "landed", "nothing to land", "called off"
_KEPT = ("status", "files", "tree", "branch", "commit")

Land = Callable[[Run], dict[str, Any]]
"""Lands it, gates included. PancodeError with its code where it cannot be landed."""


def landed(core: Core, run_id: str, commit: str, files: int) -> None:
    """For `runs show` and `why`. Idempotent but for the story."""
    with core.lock, core.ports.ledger.transaction() as tx:
        run = tx.get(Run, run_id)
        if run is not None:
            tx.put(replace(run, landed=commit))
            core.tell(tx, run_id, "land", commit[:12], "landed", f"{files} files")
            core.audit(tx, "land", "info", "landed", run_id, commit=commit, files=files)


def ask(core: Core, tx: Transaction, run: Run) -> None:
    """At settlement: what is done and has changed something waits to be landed from now on."""
    if run.outcome is Outcome.DONE and run.result.get("commit") is not None:
        tx.put(Setting(f"{ASKED}{run.id}", True, core.wall_ms(), run.created_by))
        core.live.to_land.put(run.id)


def ask_again(core: Core, tx: Transaction) -> None:
    """At a start of the coordinator: what the last one has not landed."""
    for setting in tx.find(Setting):
        if setting.name.startswith(ASKED):
            core.live.to_land.put(setting.name.removeprefix(ASKED))


def land_asked(core: Core, run_id: str, land: Land, stopping: Callable[[], bool]) -> None:
    """Land one of them and write down how it ended; one that our own end has cut short stays asked for."""
    with core.lock, core.ports.ledger.transaction() as tx:
        run = tx.get(Run, run_id) if tx.get(Setting, f"{ASKED}{run_id}") is not None else None
    if run is None or stopping():
        return
    if run.landed is not None:  # by hand, or by a coordinator that died before it could write it down
        _conclude(core, run_id, {"status": LANDED, "commit": run.landed})
        return
    try:
        report = land(run)
    except PancodeError as error:
        report = {"status": error.code.replace("_", " "), "why": f"{error}: {error.why}", "fix": error.fix}
    if report["status"] == CALLED_OFF and stopping():
        return
    _conclude(core, run_id, report)


def _conclude(core: Core, run_id: str, report: dict[str, Any]) -> None:
    why = "your tree has it already" if report["status"] == NOTHING else ""
    kept: dict[str, object] = {"why": report.get("why", why), "fix": report.get("fix", "")}
    kept |= {key: list(v) if isinstance(v := report[key], tuple) else v for key in _KEPT if key in report}
    with core.lock, core.ports.ledger.transaction() as tx:
        tx.delete(Setting, f"{ASKED}{run_id}")
        run = tx.get(Run, run_id)
        if run is None:
            return
        tx.put(replace(run, landing=kept))
        if kept["status"] != LANDED:  # that has been told where it was done
            core.tell(tx, run_id, "land", "asked with the dispatch", str(kept["status"]), str(kept["why"]))
            level = "info" if kept["status"] == NOTHING else "warning"
            core.audit(tx, "land", level, f"not landed: {kept['status']}", run_id, why=kept["why"])
