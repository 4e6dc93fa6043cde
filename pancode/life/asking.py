"""A run that begins only when a person has approved it; and a person's no to whatever a run waits for."""

from __future__ import annotations

from node_agent.wire.failure import FailureKind
from pancode.core.records import ActionKind, Approval, RunState, WaitReason
from pancode.core.values import replace
from pancode.errors import RefusedError
from pancode.life import people
from pancode.life.binding import begin, hold
from pancode.life.changes import Changes
from pancode.life.continuing import is_blocked
from pancode.life.ends import end_unstarted
from pancode.life.inbox import kind_of, must_wait
from pancode.life.kinds import BEFORE_START, ItemKind
from pancode.life.signals import Approved, Declined, Unasked


def asked_first(made: Changes) -> Changes:
    """The run is new and holds nothing yet. Its workflow may hold it back even longer."""
    made = replace(made, fresh=True)
    return made if made.run.waits is WaitReason.WORKFLOW else people.ask_first(made)


def approved(made: Changes, signal: Approved) -> Changes:
    """A person approves: the run takes its hold, even above a ceiling when the person was asked about the
    budget.

    UsageError when nothing of this kind waits; RefusedError when a ceiling has no room any more.
    """
    must_wait(made.run, made.case.action(ActionKind.PERSON), *BEFORE_START)
    kind = kind_of(made.run)
    made, refused = hold(made, signal.purses, beyond=kind is ItemKind.BUDGET)
    if refused:
        raise RefusedError(
            f"{made.run.id} is not started: {refused}",
            why="the ceiling had room when it was asked for; it goes on waiting",
            fix="pancode budget show; raise it with pancode budget set, then approve again",
            code="budget",
        )
    approval = Approval(by=signal.by, at_ms=made.now.ms, whole=signal.whole)
    asked = replace(made.run, terms={**made.run.terms, "approved": approval})
    made = begin(people.over(made.put(asked)))
    scope = "run" if signal.whole else "once"
    made = made.tell("person", kind, "approved", f"by {signal.by}, {scope}")
    return made.record("people", "info", "approved", by=signal.by, kind=str(kind), scope=scope)


def denied(made: Changes, signal: Declined) -> Changes:
    """A person says no: a run that has not begun ends; an ended run stays as it is. UsageError: nothing
    waits."""
    must_wait(made.run, made.case.action(ActionKind.PERSON), *ItemKind)
    kind = kind_of(made.run)
    if kind is ItemKind.LANDING:
        fix = f"pancode land {made.run.id}"
        report: dict[str, object] = {"status": people.DENIED, "why": f"denied by {signal.by}", "fix": fix}
        made = made.put(replace(made.run, landing=report))
    made = people.over(made).tell("person", kind, people.DENIED, f"by {signal.by}")
    made = made.record("people", "info", people.DENIED, by=signal.by, kind=str(kind))
    if made.run.state is not RunState.PENDING:
        return made
    return end_unstarted(made, FailureKind.STOPPED, f"denied by {signal.by}")


def unasked(made: Changes, signal: Unasked) -> Changes:
    """The workflow needs no answer any more: the question leaves the inbox. Idempotent."""
    asked = made.case.action(ActionKind.PERSON)
    if asked is None or not is_blocked(made.run):
        return made
    return made.done(asked).tell("person", kind_of(made.run), "withdrawn", signal.why)


def asked_again(made: Changes) -> Changes:
    """The workflow goes on, and waits for the same answer as before. Idempotent."""
    if made.case.action(ActionKind.PERSON) is not None or not is_blocked(made.run):
        return made
    return people.ask(made).tell("person", kind_of(made.run), "asked again", "its workflow goes on")
