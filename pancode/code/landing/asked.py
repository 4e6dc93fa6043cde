"""The durable side of landings: asked for, called off, carried out once, recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.records import Action, ActionKind, Run
from pancode.errors import PancodeError, UnavailableError
from pancode.life.land_values import LandWay
from pancode.life.landing import CALLED_OFF, FAILED, LANDED, by_hand
from pancode.life.signals import CalledOff, Dropped, Landed, LandingAsked, LandingOver, Signal

Land = Callable[[Run, LandWay, Callable[[], bool]], dict[str, Any]]
"""Lands it, gates included; asks whether it is still wanted as late as it can be called off.

PancodeError with its code where it cannot be landed.
"""


def ask(core: Core, run_id: str, way: LandWay) -> Action:
    """A person wants it landed: it waits in the queue of its repository. WorkspaceError before its end."""
    with unit_of_work(core) as work:
        run = work.tx.get(Run, run_id)
        assert run is not None  # it was looked up by whoever asks, and no run is ever deleted
        work.signal(run, LandingAsked(way))
        asked = work.case(run).action(ActionKind.LAND)
    assert asked is not None
    return asked


def drop(core: Core, run_id: str, by: str) -> None:
    """A person does not want its change. Idempotent. WorkspaceError before its end."""
    _signal(core, run_id, Dropped(by))


def waiting(core: Core) -> list[Action]:
    """All landings that are asked for and not over, in their order."""
    with core.ports.ledger.transaction() as tx:
        found = [action for action in tx.find(Action) if action.kind is ActionKind.LAND]
    return sorted(found, key=lambda action: (action.at_ms, action.id))


def repo_of(action: Action) -> str:
    """The queue in which it waits."""
    return str(action.detail.get("repo", ""))


def way_of(run: Run, action: Action) -> LandWay:
    """As a person has asked for it, or as a dispatch does."""
    if by_hand(action):
        return LandWay.of_row(action.detail)
    resolves = run.terms.get("resolves")
    if isinstance(resolves, dict):
        return LandWay.of_row(resolves["way"])
    return LandWay(by=f"{run.created_by} (dispatch --land)")


def call_off(core: Core, run_id: str, why: str) -> bool:
    """It is not asked for any more; False: it was not."""
    return _signal(core, run_id, CalledOff(why))


def still_asked(core: Core, asked: Action) -> bool:
    """Whether it still waits to be landed; an approval only as long as its item waits, too."""
    with core.ports.ledger.transaction() as tx:
        mine = tx.find(Action, {"run": asked.run})
    waits = any(one.id == asked.id for one in mine)
    return waits and (not asked.detail.get("approves") or any(one.kind is ActionKind.PERSON for one in mine))


def carry_out(core: Core, asked: Action, land: Land, stopping: Callable[[], bool]) -> None:
    """Land one of them and write down how it ended; one that our own end has cut short stays asked for.

    UnavailableError: nothing can be written down now, it stays asked for; the tree may have it already.
    """
    with core.ports.ledger.transaction() as tx:
        run, there = tx.get(Run, asked.run), tx.get(Action, asked.id)
    if run is None or there is None or stopping():
        return
    if run.landed is not None and not by_hand(asked):  # a person was faster
        _over(core, asked, {"status": LANDED, "commit": run.landed})
        return
    way = way_of(run, asked)
    try:
        report = land(run, way, lambda: still_asked(core, asked))
    except UnavailableError:
        raise
    except PancodeError as error:
        report = _refused(error)
    if report["status"] == CALLED_OFF and stopping():
        return
    done = (landed(report, way),) if report["status"] == LANDED else ()
    _over(core, asked, report, *done)
    resolves = run.terms.get("resolves")
    if done and isinstance(resolves, dict):
        _with_it(core, str(resolves["run"]), run, report, way)


def _with_it(core: Core, settled: str, by: Run, report: Mapping[str, Any], way: LandWay) -> None:
    """The run whose conflict was settled is landed, too."""
    with core.ports.ledger.transaction() as tx:
        old = tx.get(Run, settled)
    if old is None or old.landed is not None:
        return
    updated = {**report, "gate": {"detail": f"settled and judged in {by.id}"}}
    _signal(core, settled, landed(updated, way), LandingOver(updated, by=way.by))


def _refused(error: PancodeError) -> dict[str, Any]:
    report = {"status": error.code.replace("_", " "), "error": str(error), "fix": error.fix}
    detail = {"why": f"{error}: {error.why}", "yes": error.details.get("yes", "").split()}
    return {**report, **detail, "held": int(error.details.get("held", "0"))}


def landed(report: Mapping[str, Any], asked: LandWay) -> Landed:
    """For `runs show` and `why`, with who asked and said yes to what."""
    yes = tuple(name for name in ("with_commands", "with_secret") if getattr(asked, name))
    gates, files = str((report.get("gate") or {}).get("detail", "")), len(report["files"])
    return Landed(asked.by, str(report["commit"]), files, gates, asked.branch, yes)


def give_up(core: Core, asked: Action, error: Exception) -> None:
    """One that broke in a way that nobody foresaw is not tried again by itself."""
    look = f"look at the coordinator's log and: pancode runs diff {asked.run}"
    why = f"{type(error).__name__}: {error}"
    report = {"status": FAILED, "why": why, "fix": f"{look}; then: pancode land {asked.run}"}
    _over(core, asked, report)


def _over(core: Core, asked: Action, report: dict[str, Any], *before: Signal) -> None:
    by = asked.by if by_hand(asked) else ""
    _signal(core, asked.run, *before, LandingOver(report, asked.id, by))


def _signal(core: Core, run_id: str, *signals: Signal) -> bool:
    """Whether it has changed anything."""
    with unit_of_work(core) as work:
        run = work.tx.get(Run, run_id)
        return run is not None and work.signal(run, *signals) != run
