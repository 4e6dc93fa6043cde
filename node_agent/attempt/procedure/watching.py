"""Makes the reader of a running agent's output, and tells which of its calls wait for a person."""

from __future__ import annotations

import contextlib

from node_agent.attempt.calls import SECRET, TOO_MANY, signed_answer, sort_calls
from node_agent.attempt.plans import ERR, OUT
from node_agent.attempt.ports import DiskFull, StepFailed
from node_agent.attempt.procedure.context import Case
from node_agent.attempt.records import Note
from node_agent.attempt.watch import OutputWatch
from node_agent.policy.judging import NOWHERE, Bounds, Where
from node_agent.wire.control import PersonAnswers
from node_agent.wire.event import PersonAsked
from node_agent.wire.policy import CallAsked


def watch_of(case: Case) -> OutputWatch:
    """The reader of this attempt's output; made anew after a restart."""
    if case.watch is None:
        bounds = Bounds(_place(case), case.context.ceiling().rules)
        reader = case.context.runtimes.reader(case.order, bounds)
        case.watch = OutputWatch(reader, case.folder / OUT, case.folder / ERR)
        rules = (*case.order.policy.commands, *bounds.rules.commands)
        case.watch.rules = tuple(rule for rule in rules if rule.ask)
    return case.watch


def _place(case: Case) -> Where:
    """The agent's folder in its plan; without a plan, paths are judged as they are written."""
    plan = case.context.runner.planned(case.work)
    return NOWHERE if plan is None else Where(plan.cwd, plan.env.get("HOME", "~"), plan.below)


def tell_asked(case: Case, watch: OutputWatch) -> None:
    """After a restart all open ones are told again: the coordinator takes each once."""
    calls = case.context.calls
    if not watch.rules:
        return
    found = sort_calls(calls.open(case.identity), frozenset(watch.known_calls), watch.rules)
    if found.tell:
        _tell(case, watch, found.tell)
    for one in found.deny:
        _deny(case, one, TOO_MANY)
    if found.waits is not watch.waits:
        calls.patience(case.work, found.waits)
        watch.waits = found.waits


def _tell(case: Case, watch: OutputWatch, asked: tuple[PersonAsked, ...]) -> None:
    clean = case.cleaner()
    for event in asked:
        if clean(event.asked.command) != event.asked.command:
            _deny(case, event.asked, SECRET)
            continue
        with contextlib.suppress(DiskFull):  # it is told with the next look
            case.context.journal.write(case.identity, Note(say=(event,)))
            watch.known_calls += (event.asked.call,)


def _deny(case: Case, asked: CallAsked, words: str) -> None:
    said = PersonAnswers(identity=case.identity, asked=asked, allow=False, words=words)
    with contextlib.suppress(StepFailed, DiskFull):
        case.context.calls.answer(case.identity, asked.call, signed_answer(said, case.context.key))
