"""When a run waits for a person, and when it does not any more."""

from __future__ import annotations

from pancode.domain.life.changes import Changes
from pancode.domain.life.signals import ToldByPerson
from pancode.domain.people.telling import with_words
from pancode.domain.records import ActionKind, RunState

DENIED = "denied"


def ask(made: Changes) -> Changes:
    """It waits for a person from now on. Idempotent."""
    if made.case.action(ActionKind.PERSON) is not None:
        return made
    return made.follow(ActionKind.PERSON, made.run.created_by)


def over(made: Changes) -> Changes:
    """The question needs no answer any more. Idempotent."""
    return made.done(made.case.action(ActionKind.PERSON))


def told(made: Changes, signal: ToldByPerson) -> Changes:
    """With its task, as long as no order of it is signed; else kept. UsageError where it takes no words."""
    waits = made.run.state is RunState.PENDING and not made.case.open_fences
    made = made.put(with_words(made.run, signal.text, signal.by, made.now.ms, waits))
    how = "delivered with its task" if waits else "kept until it is continued"
    made = made.tell("person", f"told by {signal.by}", how, signal.text[:500])
    return made.record("people", "info", "told", by=signal.by, delivered=waits)
