"""Decides how a call of a working agent waits for a person, and what the person's answer changes."""

from __future__ import annotations

from node_agent.wire.control import PersonAnswers
from node_agent.wire.event import PersonAsked
from pancode.agents.runtimes import RUNTIMES
from pancode.core.records import ActionKind, RunState
from pancode.core.values import replace
from pancode.life import asked_calls, people
from pancode.life.changes import Changes
from pancode.life.inbox import must_wait
from pancode.life.kinds import ItemKind
from pancode.life.orders import identity_of
from pancode.life.signals import CallDecided

_SHORT = 200
MOST_KEPT = 400
"""The limit for one run: no node may fill the ledger with calls."""
TOO_MANY = f"a run may ask about {MOST_KEPT} commands"


def asked(made: Changes, body: PersonAsked) -> Changes:
    """The call goes to the inbox; a rule that is permitted for the run gets its yes at once. Idempotent."""
    run, question = made.run, body.asked
    works = made.case.newest and run.state is RunState.RUNNING and run.stop_asked is None
    if not works or not RUNTIMES[run.runtime].asks_people or asked_calls.is_known(run, question.call):
        return made
    if len(asked_calls.rows(run)) >= MOST_KEPT:
        return people.deny(made, question, TOO_MANY)
    made = made.put(asked_calls.asked(run, body, made.now.ms))
    number = len(asked_calls.rows(made.run))
    if question.pattern in asked_calls.permits(run):
        return _answer(made, number, CallDecided("an earlier yes", allow=True, whole=True))
    reason = f"waits for a person's yes: {question.command[:_SHORT]}"
    made = people.ask(made.put(replace(made.run, reason=reason)))
    return made.tell("person", f"call {number}", "asked", f"{question.command}; {body.why}")


def decided(made: Changes, signal: CallDecided) -> Changes:
    """A person answers a call. UsageError when no call waits; RefusedError when another call waits."""
    must_wait(made.run, made.case.action(ActionKind.PERSON), ItemKind.CALL)
    number, _ = asked_calls.chosen(made.run, signal.number)
    made = people.over(_answer(made, number, signal))
    if signal.allow and signal.whole:
        made = made.put(asked_calls.permitted(made.run, asked_calls.rows(made.run)[number - 1]["pattern"]))
        for other, row in asked_calls.open_calls(made.run).items():
            if row["pattern"] in asked_calls.permits(made.run):
                made = _answer(made, other, signal)
    scope = "run" if signal.whole else "once"
    what = "approved" if signal.allow else people.DENIED
    made = made.record("people", "info", what, by=signal.by, kind=str(ItemKind.CALL), scope=scope)
    if asked_calls.open_calls(made.run):
        return people.ask(made)
    fence = made.case.fences[made.run.fence]
    return made.put(replace(made.run, reason=f"{fence.mark} on {fence.node}"))


def _answer(made: Changes, number: int, signal: CallDecided) -> Changes:
    row, fence = asked_calls.rows(made.run)[number - 1], made.case.fences[made.run.fence]
    body = PersonAnswers(
        identity=identity_of(fence),
        asked=asked_calls.asked_of(row),
        allow=signal.allow,
        whole=signal.allow and signal.whole,
        words=signal.words,
    )
    answer = asked_calls.YES if signal.allow else asked_calls.NO
    made = made.put(asked_calls.answered(made.run, number, answer, signal.by)).send(fence.node, body)
    said = f"by {signal.by}" + (f": {signal.words}" if signal.words else "")
    return made.tell("person", f"call {number}", "approved" if signal.allow else people.DENIED, said)
