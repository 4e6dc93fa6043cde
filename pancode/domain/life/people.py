"""When a run waits for a person, and when it does not any more."""

from __future__ import annotations

from pancode.domain.life.changes import Changes
from pancode.domain.life.signals import Declined
from pancode.domain.people.inbox import ItemKind, kind_of, must_wait
from pancode.domain.records import ActionKind
from pancode.domain.values import replace

DENIED = "denied"


def ask(made: Changes) -> Changes:
    """It waits for a person from now on. Idempotent."""
    if made.case.action(ActionKind.PERSON) is not None:
        return made
    return made.follow(ActionKind.PERSON, made.run.created_by)


def over(made: Changes) -> Changes:
    """The question needs no answer any more. Idempotent."""
    return made.done(made.case.action(ActionKind.PERSON))


def denied(made: Changes, signal: Declined) -> Changes:
    """A person says no: the run stays as it is. UsageError where nothing waits."""
    must_wait(made.run, made.case.action(ActionKind.PERSON), *ItemKind)
    kind = kind_of(made.run)
    if kind is ItemKind.LANDING:
        fix = f"pancode runs land {made.run.id}"
        report: dict[str, object] = {"status": DENIED, "why": f"denied by {signal.by}", "fix": fix}
        made = made.put(replace(made.run, landing=report))
    made = over(made).tell("person", kind, DENIED, f"by {signal.by}")
    return made.record("people", "info", DENIED, by=signal.by, kind=str(kind))
