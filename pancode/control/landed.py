"""Lands a run's change in its owner's tree, when the run is done or by hand, and records it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pancode.control.core import Core
from pancode.control.faces import LandWay
from pancode.control.work import unit_of_work
from pancode.domain.life.landing import CALLED_OFF, FAILED, LANDED
from pancode.domain.life.signals import CalledOff, Landed, LandingOver, NotLanded
from pancode.domain.records import ActionKind, Run
from pancode.errors import PancodeError, UnavailableError

Land = Callable[[Run], dict[str, Any]]
"""Lands it, gates included. PancodeError with its code where it cannot be landed."""


def landed(core: Core, run: Run, report: dict[str, Any], asked: LandWay) -> None:
    """For `runs show` and `why`, with who asked and said yes to what. Idempotent but for the story."""
    yes = tuple(name for name in ("with_commands", "with_secret") if getattr(asked, name))
    gates, files = str((report["gate"] or {}).get("detail", "")), len(report["files"])
    _signal(core, run.id, Landed(asked.by, str(report["commit"]), files, gates, asked.branch, yes))


def not_landed(core: Core, run: Run, error: PancodeError, by: str) -> None:
    """One that a person asked for by hand."""
    _signal(core, run.id, NotLanded(by, error.code.replace("_", " "), f"{error.why or error}"))


def call_off(core: Core, run_id: str, why: str) -> bool:
    """It is not asked for any more; False: it was not."""
    return _signal(core, run_id, CalledOff(why))


def is_asked(core: Core, run_id: str) -> bool:
    """Whether it still waits to be landed."""
    with unit_of_work(core) as work:
        run = work.tx.get(Run, run_id)
        return run is not None and work.case(run).action(ActionKind.LAND) is not None


def land_asked(core: Core, run_id: str, land: Land, stopping: Callable[[], bool]) -> None:
    """Land one of them and write down how it ended; one that our own end has cut short stays asked for.

    UnavailableError: nothing can be written down now, it stays asked for; the tree may have it already.
    """
    with core.ports.ledger.transaction() as tx:
        run = tx.get(Run, run_id)
    if run is None or stopping() or not is_asked(core, run_id):
        return
    if run.landed is not None:  # by hand, or by a coordinator that died before it could write it down
        _signal(core, run_id, LandingOver({"status": LANDED, "commit": run.landed}))
        return
    try:
        report = land(run)
    except UnavailableError:
        raise
    except PancodeError as error:
        report = {"status": error.code.replace("_", " "), "why": f"{error}: {error.why}", "fix": error.fix}
        report["yes"] = error.details.get("yes", "").split()
        report["held"] = int(error.details.get("held", "0"))
    if report["status"] == CALLED_OFF and stopping():
        return
    _signal(core, run_id, LandingOver(report))


def give_up(core: Core, run_id: str, error: Exception) -> None:
    """One that broke in a way that nobody foresaw is not tried again by itself."""
    fix = f"look at the coordinator's log and: pancode runs diff {run_id}; then: pancode runs land {run_id}"
    why = f"{type(error).__name__}: {error}"
    _signal(core, run_id, LandingOver({"status": FAILED, "why": why, "fix": fix}))


def _signal(core: Core, run_id: str, signal: Landed | NotLanded | CalledOff | LandingOver) -> bool:
    """Whether it has changed anything."""
    with unit_of_work(core) as work:
        run = work.tx.get(Run, run_id)
        return run is not None and work.signal(run, signal) != run
