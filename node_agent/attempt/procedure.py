"""The procedure: advances one attempt from its first mark to its end, using only the journal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from node_agent.attempt.context import Case, Context, Finished, Progressed, Turn, Wait
from node_agent.attempt.finishing import clean_up, commit, gate, publish, push, seal, send_result_again
from node_agent.attempt.fleet_calls import lay_fleet_answer
from node_agent.attempt.gateways import ModelUse
from node_agent.attempt.ports import DiskFull, LinkDown, StepFailed
from node_agent.attempt.records import JournalRecord, Note
from node_agent.attempt.starting import attend, hold, prepare, spawn
from node_agent.attempt.verdict import Fault
from node_agent.attempt.watch import OutputWatch, signed_answer
from node_agent.attempt.working import follow
from node_agent.wire.control import BudgetAnswers, FleetAnswers, TurnControl, UserAnswers, UserMessage
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId, LaidMessage, Mark, turn_control_file
from node_agent.wire.node import Signs
from node_agent.wire.receipt import TurnMessage

__all__ = ["Context", "Finished", "Procedure", "Progressed", "Turn", "Wait"]

PROCEDURE: dict[Mark, Callable[[Case], Turn]] = {
    Mark.HELD: hold,
    Mark.ACCEPTED: prepare,
    Mark.PREPARED: spawn,
    Mark.SPAWNED: attend,
    Mark.EXITED: commit,
    Mark.COMMITTED: gate,
    Mark.GATED: push,
    Mark.PUSHED: seal,
    Mark.RECEIPTED: publish,
    Mark.ACKNOWLEDGED: clean_up,
    Mark.REJECTED: clean_up,
    Mark.REFUSED: clean_up,
}
"""The one step to take for each mark of an attempt. Each step writes the next mark."""

GIVE_UP: dict[Mark, Mark] = {
    Mark.HELD: Mark.EXITED,
    Mark.ACCEPTED: Mark.EXITED,
    Mark.PREPARED: Mark.EXITED,
    Mark.SPAWNED: Mark.EXITED,
    Mark.EXITED: Mark.COMMITTED,
    Mark.COMMITTED: Mark.GATED,
    Mark.GATED: Mark.PUSHED,
}
"""The next mark after repeated internal errors in a step: the receipt must be sent in any case."""
STUMBLES = 5
_UNSTARTED = (Mark.HELD, Mark.ACCEPTED, Mark.PREPARED)


def _select_step(entry: JournalRecord) -> Callable[[Case], Turn]:
    """Return the step for the entry. After a loss of records it may be past its mark, so do not start it."""
    return follow if entry.damaged and entry.mark in _UNSTARTED else PROCEDURE[entry.mark]


class Procedure:
    """Advances attempts. Keeps no state that a restart would lose: a new instance continues from the journal.
    One attempt is advanced by one thread at a time, different attempts by any number of threads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._cases: dict[AttemptId, Case] = {}

    def advance(self, identity: AttemptId) -> Turn:
        """Take the attempt's next step. Raises nothing: errors become a Wait or, if repeated, an outcome."""
        entry = self._context.journal.get(identity)
        if entry is None or entry.cleaned:
            case = self._cases.pop(identity, None)
            if case is not None and case.resend:
                with contextlib.suppress(LinkDown, OSError, ValueError):  # the coordinator asks again
                    send_result_again(case)
            return Finished()
        try:
            case = self._make_case(identity)
        except (OSError, ValueError, KeyError) as exc:
            return Wait(
                f"the job of {identity} cannot be read: {exc}", self._context.intervals.publish_most_ms
            )
        try:
            turn = _select_step(entry)(case)
        except LinkDown:
            return Wait("the coordinator cannot be reached", self._context.intervals.retry_ms)
        except DiskFull:
            return Wait("the disk is full", self._context.intervals.retry_ms)
        except Exception as exc:  # on any error the attempt must end and the node must continue to run
            return self._handle_fault(case, entry.mark, exc)
        case.stumbles = 0
        if isinstance(turn, Finished):  # this attempt is not needed again: free the memory
            self._cases.pop(identity, None)
        return turn

    def signs(self) -> list[Signs]:
        """Return the signs of life of all agents that have been checked. Thread-safe."""
        now = self._context.clock.mono_ms()
        return [signs for case, watch in self._at_work() for signs in watch.signs.ages(case.identity, now)]

    def uses(self) -> list[ModelUse]:
        """Return the models in use, without those of interactive runs that wait for a message.
        Thread-safe."""
        each = [(case.job, watch.count) for case, watch in self._at_work() if not watch.waits_for_message]
        return [ModelUse(job.runtime, job.endpoint, count) for job, count in each]

    def _at_work(self) -> Iterator[tuple[Case, OutputWatch]]:
        for identity, case in list(self._cases.items()):
            entry, watch = self._context.journal.get(identity), case.watch
            if watch is not None and entry is not None and entry.mark is Mark.SPAWNED:
                yield case, watch

    def resend(self, identity: AttemptId) -> None:
        """Send the missing outputs and the receipt again in the attempt's next step."""
        self._make_case(identity).resend = True

    def tell(self, message: UserMessage | TurnControl | FleetAnswers | BudgetAnswers) -> None:
        """Deliver a user's message, a turn control or an answer to a running attempt. The coordinator
        is not notified if the program never reads it. After DiskFull the coordinator sends it again."""
        entry, number = self._context.journal.get(message.identity), message.number
        if entry is None or entry.mark is not Mark.SPAWNED:
            return
        if isinstance(message, BudgetAnswers):
            folder = self._context.journal.folder(message.identity)
            self._context.gateways.answer(folder, message)
            return
        if isinstance(message, FleetAnswers):
            lay_fleet_answer(self._context, message)
            return
        if isinstance(message, UserMessage):
            if number not in entry.laid:  # the record must exist before the program can report the message
                words = TurnMessage.of(number, message.by, message.text)
                self._context.journal.write(message.identity, Note(laid=(words,)))
            name, text = str(number), LaidMessage(text=message.text, by=message.by).model_dump_json()
        else:
            name, text = turn_control_file(message.what, number), message.what
        with contextlib.suppress(StepFailed):
            self._context.lay(message.identity, name, number, text)

    def answer(self, answers: UserAnswers) -> None:
        """Write a user's signed answer where the call waits for it. After DiskFull the answer comes again."""
        entry = self._context.journal.get(answers.identity)
        if entry is not None and entry.mark is Mark.SPAWNED:
            with contextlib.suppress(StepFailed):
                data = signed_answer(answers, self._context.key)
                self._context.calls.answer(answers.identity, answers.asked.call, data)

    def _make_case(self, identity: AttemptId) -> Case:
        if identity not in self._cases:
            self._cases[identity] = Case(self._context, identity)
        return self._cases[identity]

    def _handle_fault(self, case: Case, mark: Mark, exc: Exception) -> Turn:
        """Handle an internal error: repeat the step a few times, then write the next mark without it."""
        case.stumbles += 1
        why = f"{type(exc).__name__}: {exc}"[:500]
        if case.stumbles < STUMBLES or mark not in GIVE_UP:
            return Wait(f"internal error of this node at {mark}: {why}", self._context.intervals.retry_ms)
        case.stumbles = 0
        try:
            fault = Fault(FailureKind.NODE_INTERNAL, f"at {mark}: {why}")
            runner = self._context.runner
            for phase in (*case.before_gates, *case.after_work):  # prevent every phase from starting later
                if mark is not Mark.ACCEPTED and (phase not in case.after_work or mark is Mark.COMMITTED):
                    runner.stop(phase, fault.reason)
            runner.sweep(str(case.identity))
            left: dict[Mark, dict[str, Any]] = {Mark.EXITED: {"kind": "none"}, Mark.GATED: {"blobs": []}}
            return case.mark(GIVE_UP[mark], case.fault or fault, left.get(mark))
        except Exception as worse:
            return Wait(
                f"internal error of this node at {mark}: {why}; {worse}", self._context.intervals.retry_ms
            )
