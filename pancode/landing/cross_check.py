"""Has another node run the gates on a result, in a signed run without an agent; its receipt is evidence."""

from __future__ import annotations

from collections.abc import Callable

from pancode.kernel.errors import PancodeError, UnavailableError, UsageError
from pancode.kernel.facets import GateTerms, Judging
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.landing.cross_check_rules import VerificationAsked, VerificationBegun, VerificationOver
from pancode.landing.judgement import admit_at_commit, judging_run, load_gates
from pancode.runs import reconcile
from pancode.runs.admission.request_rules import check_verifier
from pancode.runs.core import Core
from pancode.runs.dispatch import new_id_in
from pancode.runs.placement.placement import explain_misfit
from pancode.runs.receipts.trust import (
    OTHER,
    ResultTrust,
    VerifiedResult,
    judge_result,
    list_verdicts,
    passed_on,
    read_verified,
    result_at,
)
from pancode.runs.unit_of_work import unit_of_work


def request_check(core: Core, run: Run, on: str, by: str, again: bool = False) -> Run:
    """Request a verification for a user; `again`: even if the result is disputed. Raises RefusedError if the
    result cannot be verified, UsageError or NotFoundError for the node."""
    with unit_of_work(core) as work:
        names = [view.node.name for view in core.views(work.tx) if view.node.removed is None]
        check_verifier(on, names, str(run.result.get("node") or ""), "--on")
        found = work.tx.get(Run, run.id) or run
        if any(one.node == on for one in list_verdicts(found)):
            fix = f"verify on another node, or again: pancode runs verify {run.id} --again"
            raise UsageError(f"{on} has already verified {run.id}", fix=fix, code="judged_already")
        return work.signal(found, VerificationAsked(on, by, again))


class Verifications:
    """A pancode.runs.follow_on_actions.Doer that begins verifications and records their verdicts."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def do(self, run: str, stopping: Callable[[], bool]) -> None:
        """Begin a due verification, or record a finished one. UnavailableError if the depot is full."""
        with self._core.ports.ledger.transaction() as tx:
            found = tx.get(Run, run)
            seen = read_verified(found) if found is not None else None
            other = tx.get(Run, seen.run) if seen is not None and seen.run is not None else None
        if found is None:
            return
        if seen is None or (other is not None and other.state is not RunState.ENDED):
            self._signal_run(run, VerificationBegun(other.id if other is not None else "", ""))
        elif other is not None and seen.waits:
            self._signal_run(run, VerificationOver(judge_result(found, other)))
        elif other is not None and other.outcome is not None and seen.receipt is None:
            # the verifying run was lost and has returned
            self._signal_run(run, VerificationOver(judge_result(found, other)))
        else:
            self._begin(found)

    def give_up(self, run: str, error: Exception) -> None:
        """Record that the verification failed because of an unexpected error."""
        why = f"the result could not be verified: {type(error).__name__}: {error}"
        self._signal_run(run, VerificationOver(VerifiedResult(ResultTrust.PARTLY, why)))

    def _begin(self, run: Run) -> None:
        try:
            queued = self._queue_run(run)
        except UnavailableError:
            raise
        except PancodeError as error:
            why = f"the result cannot be verified: {error}{f': {error.why}' if error.why else ''}"
            queued = VerificationOver(VerifiedResult(ResultTrust.PARTLY, why))
        if queued is not None:
            self._signal_run(run.id, queued)

    def _queue_run(self, run: Run) -> VerificationOver | None:
        """Queue the verifying run. Return a VerificationOver if no other node can ever take it, else None."""
        core, commit, own = self._core, result_at(run), passed_on(run)
        assert commit is not None  # the run has gates; otherwise no verification would have been requested
        on, required = str(GateTerms.of(run).verify_on), load_gates(core, run)
        with unit_of_work(core) as work:
            other = replace(
                judging_run(core, run, new_id_in(core, work.tx), commit, run.created_by, required),
                task=f"gates of {run.id} on another node",
                node=None if on == OTHER else on,
            )
            kept_off = (own, *(str(one.node) for one in list_verdicts(run)))
            other = Judging(run.id, verifies=True, not_on=kept_off).on(other)
            unfit = {
                v.node.name: explain_misfit(other, v) for v in core.views(work.tx) if v.node.removed is None
            }
            if all(unfit.values()):
                reasons = "; ".join(f"{name} {why}" for name, why in unfit.items() if name != own)
                why = f"its gates passed on {own}; no other node can run them: {reasons or 'there is none'}"
                return VerificationOver(VerifiedResult(ResultTrust.PARTLY, why))
            admit_at_commit(work, other)
            work.signal(run, VerificationBegun(other.id, on))
        reconcile.act_now(core)
        return None

    def _signal_run(self, run: str, signal: VerificationBegun | VerificationOver) -> None:
        with unit_of_work(self._core) as work:
            found = work.tx.get(Run, run)
            if found is not None:
                work.signal(found, signal)
