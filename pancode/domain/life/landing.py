"""The landing that a dispatch has asked for: asked, called off, over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.counted import counted
from pancode.domain.life import people
from pancode.domain.life.changes import Changes
from pancode.domain.life.signals import CalledOff, Landed, LandingOver, NotLanded
from pancode.domain.records import ActionKind, Run
from pancode.domain.values import replace

LANDED, NOTHING, CALLED_OFF, FAILED = "landed", "nothing to land", "called off", "failed"
HELD = "held"
_KEPT = ("status", "files", "tree", "branch", "commit", "gate", "yes", "held")


def follow(made: Changes) -> Changes:
    """At settlement: it is landed by itself, or waits for a person, or neither."""
    if waits_for_person(made.run) and made.case.action(ActionKind.PERSON) is None:
        made = made.follow(ActionKind.PERSON, made.run.created_by)
    return _asked(made)


def waits_for_person(run: Run) -> bool:
    """Whether a run that has just ended needs a person: it asks, or its agent lands nothing by itself."""
    if run.outcome is Outcome.BLOCKED:
        return True
    changed = run.result.get("commit") is not None
    return run.outcome is Outcome.DONE and changed and "autonomy" in run.terms and run.landed is None


def _asked(made: Changes) -> Changes:
    """At settlement: what is done and has changed something waits to be landed from now on.

    Not where somebody has said stop, which came too late for the work: of a lost run only its fence tells.
    """
    run = made.run
    changed = run.result.get("commit") is not None or "begins" in run.terms
    if not run.land or run.outcome is not Outcome.DONE or not changed:
        return made
    if run.stop_asked is not None or made.fence.stop_sent:
        return _written(made, _off(made, run.stop_asked or "its stop was asked for"))
    return made.follow(ActionKind.LAND, run.created_by)


def called_off(made: Changes, signal: CalledOff) -> Changes:
    """It is not asked for any more, if it was. One that is under way writes down its end itself."""
    asked = made.case.action(ActionKind.LAND)
    if asked is None or made.run.landed is not None:
        return made
    return _written(made.done(asked), _off(made, signal.why))


def over(made: Changes, signal: LandingOver) -> Changes:
    """How the one that was asked for has ended; one that was called off before has had its end."""
    made, report = made.done(made.case.action(ActionKind.LAND)), signal.report
    known = made.run.landing.get("status") == CALLED_OFF == report["status"]
    made = people.ask(made) if report["status"] == HELD else made
    return made if known else _written(made, report)


def landed(made: Changes, signal: Landed) -> Changes:
    """It is in its owner's tree, by whoever asked for it."""
    commit, files = signal.commit, signal.files
    made = people.over(made)
    told = f"{counted(files, 'file')}{f' on branch {signal.branch}' if signal.branch else ''}"
    made = made.put(replace(made.run, landed=commit))
    made = made.tell("land", commit[:12], "landed", f"{told}; gates: {signal.gates}")
    detail = {"by": signal.by, "yes": list(signal.yes), "gates": signal.gates, "branch": signal.branch}
    return made.record("land", "info", "landed", commit=commit, files=files, **detail)


def not_landed(made: Changes, signal: NotLanded) -> Changes:
    """One that a person asked for by hand."""
    made = made.tell("land", f"asked by {signal.by}", signal.status, signal.why)
    what = f"not landed: {signal.status}"
    return made.record("land", "warning", what, by=signal.by, why=signal.why)


def _off(made: Changes, why: str) -> dict[str, Any]:
    return {"status": CALLED_OFF, "why": why, "fix": f"pancode runs land {made.run.id}"}


def _written(made: Changes, report: Mapping[str, Any]) -> Changes:
    status = str(report["status"])
    why = str(report.get("why", "your tree has it already" if status == NOTHING else ""))
    kept: dict[str, object] = {"why": why, "fix": report.get("fix", "")}
    kept |= {key: list(v) if isinstance(v := report[key], tuple) else v for key in _KEPT if key in report}
    made = made.put(replace(made.run, landing=kept))
    if status == LANDED:  # that has been told where it was done
        return made
    made = made.tell("land", "asked with the dispatch", status, why)
    level = "info" if status == NOTHING else "warning"
    return made.record("land", level, f"not landed: {status}", why=why)
