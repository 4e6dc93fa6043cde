"""The verification of a result on another node: how it is requested, begins and ends."""

from __future__ import annotations

from dataclasses import dataclass

from pancode.kernel.errors import RefusedError
from pancode.kernel.facets import GateTerms, Judging
from pancode.kernel.records import Action, ActionKind
from pancode.kernel.values import replace
from pancode.landing.rules import after_verification
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.receipts.trust import (
    KEPT,
    ResultTrust,
    VerifiedResult,
    list_verdicts,
    make_waiting,
    read_verified,
    update_trust,
)


def begin_check(made: Changes) -> Changes:
    """Start the verification of a settled run's result by another node."""
    made = _put(made, make_waiting(made.run, "another node will run the gates"))
    return made.follow(ActionKind.VERIFY, made.run.created_by)


def judge_next(made: Changes) -> Changes:
    """Update the run whose result this verifying run judges, because the verifying run has ended."""
    run, judging = made.run, Judging.of(made.run)
    if not judging.verifies or judging.judges is None:
        return made
    return made.add(Action(made.now.new_id(), ActionKind.VERIFY, judging.judges, made.now.ms, run.created_by))


@dataclass(frozen=True, slots=True)
class VerificationAsked(Signal):
    """A user's signal to verify a result. `on`: a node's name, or `other`. `again`: even if disputed."""

    on: str
    by: str
    again: bool = False

    def apply(self, made: Changes) -> Changes:
        """Start the verification of an existing result. Raises RefusedError if that is not possible, or if
        the result is disputed."""
        seen = read_verified(made.run)
        if seen is None or seen.state is ResultTrust.UNVERIFIED or seen.waits:
            why = (made.run.reason or "the run has not ended") if seen is None else seen.why
            raise RefusedError(
                f"cannot verify {made.run.id} now",
                why=why,
                fix=f"see the run: pancode runs show {made.run.id}",
                code="not_verifiable",
            )
        if seen.state is ResultTrust.DISPUTED and not self.again:
            again = f"pancode runs verify {made.run.id} --again"
            raise RefusedError(
                f"{made.run.id} is disputed",
                why=f"{seen.why}; a check that is repeated until a node agrees proves nothing",
                fix=f"see the check: pancode runs show {seen.run}; if that node was wrong, use another node: "
                f"{again}",
                code="disputed",
            )
        made = made.put(replace(GateTerms.of(made.run), verify_on=self.on).on(made.run)).record(
            "receipt", "info", "verification requested", by=self.by, again=self.again
        )
        return begin_check(made)


@dataclass(frozen=True, slots=True)
class VerificationBegun(Signal):
    """The signal that the run that verifies the result on another node is queued."""

    run: str
    on: str

    def apply(self, made: Changes) -> Changes:
        """Record the queued run that verifies the result."""
        made = made.done(made.case.action(ActionKind.VERIFY))
        known = read_verified(made.run)
        if known is not None and known.run == self.run:
            return made
        made = _put(made, make_waiting(made.run, f"{self.run} runs the gates on another node", self.run))
        return made.tell("verify", self.run, "begun", f"on {self.on}")


@dataclass(frozen=True, slots=True)
class VerificationOver(Signal):
    """The signal that the verification has ended or is not possible."""

    seen: VerifiedResult

    def apply(self, made: Changes) -> Changes:
        """Record the verdict, then start the landing if one waited for it."""
        made, seen = (
            made.done(made.case.action(ActionKind.VERIFY)),
            update_trust(list_verdicts(made.run), self.seen),
        )
        made = _put(made, seen).tell("verify", seen.run or "elsewhere", seen.words, seen.why)
        level = "error" if seen.state is ResultTrust.DISPUTED else "info"
        made = made.record("receipt", level, f"result: {seen.words}", why=seen.why, verified_by=seen.run)
        return after_verification(made).advance()


def _put(made: Changes, seen: VerifiedResult) -> Changes:
    return made.put(replace(made.run, result={**made.run.result, KEPT: seen.plain()}))
