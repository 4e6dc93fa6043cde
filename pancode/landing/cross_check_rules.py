"""The verification of a result on another node: how it is asked for, begins and ends."""

from __future__ import annotations

from pancode.kernel.errors import RefusedError
from pancode.kernel.facets import Judging
from pancode.kernel.records import Action, ActionKind, Run
from pancode.kernel.values import replace
from pancode.runs.facets import Gates
from pancode.runs.life.changes import Changes
from pancode.runs.life.signals import VerificationAsked, VerificationBegun, VerificationOver
from pancode.runs.receipts.trust import (
    KEPT,
    ResultTrust,
    VerifiedResult,
    after,
    verdicts,
    verified,
    waiting,
)


def follow(made: Changes) -> Changes:
    """At settlement, let another node verify the result."""
    made = _put(made, waiting(made.run, "another node is to run its gates"))
    return made.follow(ActionKind.VERIFY, made.run.created_by)


def judge_next(made: Changes) -> Changes:
    """Look at the run that this verifying run judges, as the verifying run has ended."""
    run = made.run
    if not Judging.of(run).verifies or run.judges is None:
        return made
    return made.add(Action(made.now.new_id(), ActionKind.VERIFY, run.judges, made.now.ms, run.created_by))


def asked(made: Changes, signal: VerificationAsked) -> Changes:
    """Let a node verify an existing result, as a person asks.

    RefusedError when it is not possible, or the result is disputed.
    """
    seen = verified(made.run)
    if seen is None or seen.state is ResultTrust.UNVERIFIED or seen.waits:
        why = "it is not done" if seen is None else seen.why
        raise RefusedError(
            f"{made.run.id} cannot be verified now",
            why=why,
            fix=f"pancode runs show {made.run.id}",
            code="not_verifiable",
        )
    if seen.state is ResultTrust.DISPUTED and not signal.again:
        again = f"pancode runs verify {made.run.id} --again"
        raise RefusedError(
            f"{made.run.id} is disputed",
            why=f"{seen.why}; whoever asks until somebody agrees learns nothing",
            fix=f"pancode runs show {seen.run}; if that node was wrong, ask another one: {again}",
            code="disputed",
        )
    made = made.put(replace(Gates.of(made.run), verify_on=signal.on).on(made.run)).record(
        "receipt", "info", "verification asked", by=signal.by, again=signal.again
    )
    return follow(made)


def begun(made: Changes, signal: VerificationBegun) -> Changes:
    """Record the queued run that verifies the result."""
    made = made.done(made.case.action(ActionKind.VERIFY))
    known = verified(made.run)
    if known is not None and known.run == signal.run:
        return made
    made = _put(made, waiting(made.run, f"{signal.run} runs its gates on another node", signal.run))
    return made.tell("verify", signal.run, "begun", f"on {signal.on}")


def over(made: Changes, signal: VerificationOver) -> Changes:
    """Record the verdict; a landing that waited for it comes next."""
    made, seen = made.done(made.case.action(ActionKind.VERIFY)), after(verdicts(made.run), signal.seen)
    made = _put(made, seen).tell("verify", seen.run or "elsewhere", seen.words, seen.why)
    level = "error" if seen.state is ResultTrust.DISPUTED else "info"
    return made.record("receipt", level, f"result: {seen.words}", why=seen.why, verified_by=seen.run)


def is_waiting(run: Run) -> bool:
    seen = verified(run)
    return seen is not None and seen.waits


def _put(made: Changes, seen: VerifiedResult) -> Changes:
    return made.put(replace(made.run, result={**made.run.result, KEPT: seen.plain()}))
