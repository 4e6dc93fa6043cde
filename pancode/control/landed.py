"""A run's change in its owner's tree: asked for with the dispatch, landed when it is done, written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.control.core import Core
from pancode.control.work import Work, unit_of_work
from pancode.counted import counted
from pancode.domain.records import Fence, Run, Setting
from pancode.errors import PancodeError, UnavailableError
from pancode.ports import Transaction

ASKED = "land:"
"""Begins the name of a setting for each run whose change waits to be landed: it outlives the coordinator."""
LANDED, NOTHING, CALLED_OFF, FAILED = "landed", "nothing to land", "called off", "failed"
_KEPT = ("status", "files", "tree", "branch", "commit", "gate")


@dataclass(frozen=True, slots=True)
class LandWay:
    """How a change is to be landed. `branch`: as a commit there, with `message`; empty: into the files.

    `with_commands`, `with_secret`: a person says yes to files that decide what runs next, and to a secret.
    """

    by: str
    gates: bool = True
    branch: str = ""
    message: str = ""
    with_commands: bool = False
    with_secret: bool = False


Land = Callable[[Run], dict[str, Any]]
"""Lands it, gates included. PancodeError with its code where it cannot be landed."""


def landed(core: Core, run: Run, report: dict[str, Any], asked: LandWay) -> None:
    """For `runs show` and `why`, with who asked and said yes to what. Idempotent but for the story."""
    yes = [name for name in ("with_commands", "with_secret") if getattr(asked, name)]
    gate, files = str((report["gate"] or {}).get("detail", "")), len(report["files"])
    where = f" on branch {asked.branch}" if asked.branch else ""
    with unit_of_work(core) as work:
        kept = work.tx.get(Run, run.id)
        if kept is not None:
            commit = str(report["commit"])
            work.tx.put(replace(kept, landed=commit))
            told = f"{counted(files, 'file')}{where}; gates: {gate}"
            work.tell(run.id, "land", commit[:12], "landed", told)
            detail = {"by": asked.by, "yes": yes, "gates": gate, "branch": asked.branch}
            work.audit("land", "info", "landed", run.id, commit=commit, files=files, **detail)


def not_landed(core: Core, run: Run, error: PancodeError, by: str) -> None:
    """One that a person asked for by hand."""
    with unit_of_work(core) as work:
        words = f"{error.why or error}"
        work.tell(run.id, "land", f"asked by {by}", error.code.replace("_", " "), words)
        work.audit("land", "warning", f"not landed: {error.code.replace('_', ' ')}", run.id, by=by, why=words)


def ask(work: Work, run: Run, fence: Fence) -> None:
    """At settlement: what is done and has changed something waits to be landed from now on.

    Not where somebody has said stop, which came too late for the work: of a lost run only its fence tells.
    """
    if run.outcome is not Outcome.DONE or run.result.get("commit") is None:
        return
    if run.stop_asked is not None or fence.stop_sent:
        _write(work, run, _called_off(run, run.stop_asked or "its stop was asked for"))
        return
    work.tx.put(Setting(f"{ASKED}{run.id}", True, work.core.wall_ms(), run.created_by))
    work.core.live.to_land.put(run.id)


def call_off(work: Work, run: Run, why: str) -> bool:
    """It is not asked for any more; False: it was not. One that is under way writes down its end itself."""
    if not _is_asked(work.tx, run.id) or run.landed is not None:
        return False
    work.tx.delete(Setting, f"{ASKED}{run.id}")
    _write(work, run, _called_off(run, why))
    return True


def is_asked(core: Core, run_id: str) -> bool:
    """Whether it still waits to be landed."""
    with core.lock, core.ports.ledger.transaction() as tx:
        return _is_asked(tx, run_id)


def ask_again(core: Core, tx: Transaction) -> None:
    """At a start of the coordinator: what the last one has not landed."""
    for setting in tx.find(Setting):
        if setting.name.startswith(ASKED):
            core.live.to_land.put(setting.name.removeprefix(ASKED))


def land_asked(core: Core, run_id: str, land: Land, stopping: Callable[[], bool]) -> None:
    """Land one of them and write down how it ended; one that our own end has cut short stays asked for.

    UnavailableError: nothing can be written down now, it stays asked for; the tree may have it already.
    """
    with core.lock, core.ports.ledger.transaction() as tx:
        run = tx.get(Run, run_id) if _is_asked(tx, run_id) else None
    if run is None or stopping():
        return
    if run.landed is not None:  # by hand, or by a coordinator that died before it could write it down
        _conclude(core, run_id, {"status": LANDED, "commit": run.landed})
        return
    try:
        report = land(run)
    except UnavailableError:
        raise
    except PancodeError as error:
        report = {"status": error.code.replace("_", " "), "why": f"{error}: {error.why}", "fix": error.fix}
    if report["status"] == CALLED_OFF and stopping():
        return
    _conclude(core, run_id, report)


def give_up(core: Core, run_id: str, error: Exception) -> None:
    """One that broke in a way that nobody foresaw is not tried again by itself."""
    fix = f"look at the coordinator's log and: pancode runs diff {run_id}; then: pancode runs land {run_id}"
    _conclude(core, run_id, {"status": FAILED, "why": f"{type(error).__name__}: {error}", "fix": fix})


def _is_asked(tx: Transaction, run_id: str) -> bool:
    return tx.get(Setting, f"{ASKED}{run_id}") is not None


def _called_off(run: Run, why: str) -> dict[str, Any]:
    return {"status": CALLED_OFF, "why": why, "fix": f"pancode runs land {run.id}"}


def _conclude(core: Core, run_id: str, report: dict[str, Any]) -> None:
    with unit_of_work(core) as work:
        work.tx.delete(Setting, f"{ASKED}{run_id}")
        run = work.tx.get(Run, run_id)
        known = run is not None and run.landing.get("status") == CALLED_OFF == report["status"]
        if run is not None and not known:
            _write(work, run, report)


def _write(work: Work, run: Run, report: dict[str, Any]) -> None:
    why = "your tree has it already" if report["status"] == NOTHING else ""
    kept: dict[str, object] = {"why": report.get("why", why), "fix": report.get("fix", "")}
    kept |= {key: list(v) if isinstance(v := report[key], tuple) else v for key in _KEPT if key in report}
    work.tx.put(replace(run, landing=kept))
    if kept["status"] != LANDED:  # that has been told where it was done
        work.tell(run.id, "land", "asked with the dispatch", str(kept["status"]), str(kept["why"]))
        level = "info" if kept["status"] == NOTHING else "warning"
        work.audit("land", level, f"not landed: {kept['status']}", run.id, why=kept["why"])
