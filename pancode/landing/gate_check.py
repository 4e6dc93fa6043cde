"""Runs the gates of a run on the unchanged tree, beside the run, when its repository first uses them."""

from __future__ import annotations

from collections.abc import Callable

from node_agent.wire.failure import FailureKind
from node_agent.wire.receipt import Claims
from pancode.kernel.errors import PancodeError, UnavailableError, UsageError
from pancode.kernel.facets import Approvals, GateTerms, Judging
from pancode.kernel.records import Action, Run, Setting, WaitReason
from pancode.kernel.values import replace
from pancode.landing import gate_check_rules as rules
from pancode.landing.judgement import admit_at_commit, judging_run
from pancode.landing.rules import require_gates
from pancode.runs import round as rounds
from pancode.runs.core import Core
from pancode.runs.dispatch import new_id_in
from pancode.runs.features import Joining
from pancode.runs.options import OPTIONS
from pancode.runs.unit_of_work import Work, unit_of_work


def plan_check(work: Work, joining: Joining) -> Run:
    """Let the gates of a new run be checked where the repository does not know them, or the run waits for it.

    UsageError when the run is to wait for a check that is not possible.
    """
    run, is_first = joining.run, GateTerms.of(joining.run).check_first
    why = rules.why_uncheckable(run)
    is_held = run.waits is WaitReason.WORKFLOW or Approvals.of(run).asks
    if is_first and (why or is_held):
        raise UsageError(
            f"the gates of {run.id} cannot be checked first",
            why=why or "a user or its workflow lets it begin",
            fix="leave out --check-gates-first",
            code="uncheckable_gates",
        )
    known = None if why else rules.begin_known(rules.read_known(work.tx, run), run)
    if known is None:
        return run
    _keep(work, run, known)
    work.tx.insert(rules.make_action(run, work.core.wall_ms()))
    return replace(run, waits=WaitReason.GATES, reason=rules.WAITS) if is_first else run


def note_results(work: Work, claims: Claims) -> None:
    """Keep which gates have passed, and that the run is told what a check finds of those that failed."""
    run = work.tx.get(Run, claims.identity.run)
    if run is not None and run.project is not None:
        results = {gate.argv: gate.passed for gate in claims.gates}
        _keep(work, run, rules.learn_results(rules.read_known(work.tx, run), run.id, results))


def _keep(work: Work, run: Run, known: rules.KnownGates) -> None:
    if known != rules.read_known(work.tx, run):
        row = Setting(rules.name_row(run), rules.dump_known(known), work.core.wall_ms(), run.created_by)
        work.tx.put(row)


def begin_check(core: Core, run: Run) -> None:
    """Queue the check of a run's gates. It is served last, unless the run waits for it, and lists have it
    behind the run.
    """
    commit, gates = str(run.workspace["snapshot"]), require_gates((run,))
    least = OPTIONS["priority"].least or 0
    with unit_of_work(core) as work:
        check = replace(
            judging_run(core, run, new_id_in(core, work.tx), commit, run.created_by, gates),
            created_ms=run.created_ms - 1,
            task=f"gates of {run.id} on the unchanged tree",
            priority=run.priority if GateTerms.of(run).check_first else least,
        )
        admit_at_commit(work, Judging(run.id, unchanged=True).on(check))
        work.tell(run.id, "gate", check.id, "begun", "its gates run on the unchanged tree")
        work.tx.delete(Action, rules.action_id(run.id))
    rounds.act_now(core)


class GateChecks:
    """A pancode.runs.follow_on_actions.Doer: begins a check, and tells its verdict at the end."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def do(self, run: str, stopping: Callable[[], bool]) -> None:
        """Begin the check of a run's gates, or tell the verdict of a check. UnavailableError: the depot is
        full.
        """
        with self._core.ports.ledger.transaction() as tx:
            found = tx.get(Run, run)
        if found is None or Judging.of(found).unchanged:
            self._tell(run, found)
            return
        try:
            begin_check(self._core, found)
        except UnavailableError:
            raise
        except PancodeError as error:
            self._tell(run, found, f"they cannot be checked: {error}{f': {error.why}' if error.why else ''}")

    def give_up(self, run: str, error: Exception) -> None:
        """Tell the run that the check failed unexpectedly."""
        with self._core.ports.ledger.transaction() as tx:
            found = tx.get(Run, run)
        self._tell(run, found, f"they could not be checked: {type(error).__name__}: {error}")

    def cut_short(self) -> None:
        """Does nothing, as each piece of work is short."""

    def _tell(self, id: str, ended: Run | None, why: str = "") -> None:
        """Tell the verdict of a check that has ended, or why there is none for the run."""
        with unit_of_work(self._core) as work:
            work.tx.delete(Action, rules.action_id(id))
            if ended is None:
                return
            judged = {} if why else rules.judged_gates(ended)
            failing = frozenset(gate for gate, has_passed in judged.items() if not has_passed)
            failure = FailureKind.NODE_INTERNAL if why else ended.failure
            verdict = rules.GatesChecked("gates" if why else id, failing, failure, why or ended.reason)
            told = rules.find_told(work.tx, ended)
            _keep(work, ended, rules.end_check(rules.read_known(work.tx, ended), ended))
            for run in told:
                work.signal(run, verdict)
        rounds.act_now(self._core)
