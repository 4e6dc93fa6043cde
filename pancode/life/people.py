"""When a run waits for a person, and when it does not any more."""

from __future__ import annotations

from node_agent.wire.control import PersonAnswers, PersonSays
from node_agent.wire.identity import Mark
from node_agent.wire.policy import CallAsked
from pancode.agents.runtimes import RUNTIMES
from pancode.core.records import ActionKind, Fence, FenceState, RunState, WaitReason
from pancode.core.values import replace
from pancode.counted import counted
from pancode.life import asked_calls, telling
from pancode.life.approval import FIRST
from pancode.life.changes import Changes
from pancode.life.continuing import NEXT, is_blocked, must_be_free, nexts
from pancode.life.inbox import ItemKind, must_wait
from pancode.life.orders import identity_of
from pancode.life.signals import Continued, ToldByPerson
from pancode.life.telling import unheard, with_words

DENIED = "denied"
LOST = "the coordinator gave this run up as lost on its node, so nobody can approve the command"


def ask(made: Changes) -> Changes:
    """It waits for a person from now on. Idempotent."""
    if made.case.action(ActionKind.PERSON) is not None:
        return made
    return made.follow(ActionKind.PERSON, made.run.created_by)


def ask_first(made: Changes) -> Changes:
    """It begins only when a person has approved it."""
    run = made.run
    return ask(made.put(replace(run, reason=FIRST, waits=WaitReason.PERSON)))


def over(made: Changes) -> Changes:
    """The question needs no answer any more, and a workflow that waits for one is looked at. Idempotent."""
    asked = made.case.action(ActionKind.PERSON)
    over = made.done(asked)
    return over if asked is None or not is_blocked(made.run) else over.advance()


def calls_over(made: Changes) -> Changes:
    """Its agent works no more: nobody is asked about its calls. Idempotent."""
    if not asked_calls.open_calls(made.run):
        return made
    return over(made.put(asked_calls.over(made.run)))


def calls_lost(made: Changes) -> Changes:
    """Its attempt is given up, and its agent may still wait: each open call is denied. Idempotent."""
    for row in asked_calls.open_calls(made.run).values():
        made = deny(made, asked_calls.asked_of(row), LOST)
    return calls_over(made)


def deny(made: Changes, question: CallAsked, words: str) -> Changes:
    """Tell the agent of this fence no. No person was asked."""
    body = PersonAnswers(identity=identity_of(made.fence), asked=question, allow=False, words=words)
    return made.send(made.fence.node, body)


def told(made: Changes, signal: ToldByPerson) -> Changes:
    """With its task, as long as no order of it is signed; to its agent, where that hears; else kept.

    UsageError where it takes no words.
    """
    waits = made.run.state is RunState.PENDING and not made.case.open_fences
    made = made.put(with_words(made.run, signal.text, signal.by, made.now.ms, waits))
    sent = not waits and listens(made) is not None
    how = (
        "delivered with its task" if waits else "sent to its agent" if sent else "kept until it is continued"
    )
    made = say(made) if sent else made
    made = made.tell("person", f"told by {signal.by}", how, signal.text[:500])
    return made.record("people", "info", "told", by=signal.by, delivered=waits)


def listens(made: Changes) -> Fence | None:
    """Where its agent works and is given words at its next turn; None: it is not, or has no ear."""
    fence = made.case.fences.get(made.run.fence)
    works = fence is not None and fence.state is FenceState.RUNNING and fence.mark == Mark.SPAWNED
    return fence if works and RUNTIMES[made.run.runtime].hears else None


def say(made: Changes) -> Changes:
    """Send its agent what it was not given; the node takes each number once."""
    fence = listens(made)
    if fence is None:
        return made
    for number, text in unheard(made.run).items():
        made = made.send(fence.node, PersonSays(identity=identity_of(fence), number=number, text=text))
    return made


def heard(made: Changes, numbers: tuple[int, ...]) -> Changes:
    """The node says that the agent was given these words."""
    was = made.run
    made = made.put(telling.heard(was, numbers, made.fence.attempt))
    new = [number for number in numbers if number in unheard(was)]
    shown = ", ".join(map(str, new))
    return made.tell("person", f"words {shown}", "delivered", "at a turn of its agent") if new else made


def undelivered(made: Changes) -> Changes:
    """It ends, and was not given all that people have said: that is told."""
    left = len(telling.kept(made.run))
    if not left:
        return made
    words = f"{counted(left, 'message')} of people kept for: pancode runs continue {made.run.id}"
    return made.tell("person", "words", "not delivered", words)


def given(made: Changes, run: str) -> Changes:
    """This run, which goes on from it, was given all that was kept."""
    return made.put(telling.delivered(made.run, run))


def continued(made: Changes, signal: Continued) -> Changes:
    """RefusedError or UsageError where it is to be the only one, and somebody has answered or denied it."""
    if signal.sole:
        must_be_free(made.run)
        asked = made.case.action(
            ActionKind.PERSON
        )  # somebody may have denied it since the answer was checked
        must_wait(made.run, asked, ItemKind.QUESTION, ItemKind.PERMISSION)
    result = {**made.run.result, NEXT: [*nexts(made.run), signal.run]}
    made = given(made.put(replace(made.run, result=result)), signal.run).done(
        made.case.action(ActionKind.PERSON)
    )
    by = f"a program answered: {signal.program}" if signal.program else f"by {signal.by}"
    made = made.tell("continue", signal.run, "continued", by)
    verdict, program = "answered" if signal.sole else "continued", {"program": signal.program}
    return made.record(
        "people", "info", verdict, by=signal.by, next=signal.run, **(program if signal.program else {})
    )
