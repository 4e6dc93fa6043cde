"""Runs a run's gates on the unchanged tree, in parallel to the run, when its repository first uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.receipt import Claims
from pancode.kernel.errors import PancodeError, UnavailableError, UsageError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, Judging, Run, RunState, Setting, WaitReason
from pancode.kernel.values import replace
from pancode.landing.judgement import admit_at_commit, judging_run, rows_of
from pancode.landing.rules import argv_of, require_gates
from pancode.runs import reconcile
from pancode.runs.core import Core, open_leases
from pancode.runs.dispatch import new_id_in
from pancode.runs.facts import Approvals, GateTerms, Lineage
from pancode.runs.features import Joining
from pancode.runs.life.binding import begin_waiting
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.ends import Stop, end_unstarted
from pancode.runs.options import OPTIONS
from pancode.runs.placement.binding import free_slots
from pancode.runs.placement.placement import explain_misfit
from pancode.runs.unit_of_work import Work, is_left, unit_of_work

WAITS = "waits for its gates on the unchanged tree"
ALREADY = "this gate already fails without the change"
YIELDS = "a run waits for its slot, or has passed the gates"
MOST_GATES = 200
"""How many gates of a repository are remembered; those that were used first are deleted first."""
WORKS_MS, WAITS_MS = 2_000, 15_000
"""Intervals between looks at a check: one that is active or that a run waits for, and one without a slot."""
HELPS_MS = 300_000
"""How long after the end of a run that failed its gates the answer of a check still helps its user."""


def read_known(tx: Transaction, run: Run) -> dict[tuple[str, ...], str]:
    """Return the known gates of the run's repository, each with the commit where it fails; empty: passed."""
    row = tx.get(Setting, f"gates:{run.project}")
    rows = row.value if row is not None and isinstance(row.value, list) else []
    return {tuple(argv): fails_on for argv, fails_on in rows}


def has_new_gate(tx: Transaction, run: Run) -> bool:
    """Whether one of the run's gates was never run on a tree without the run's change."""
    known = read_known(tx, run) if run.gates else {}
    return any(known.get(argv_of(gate)) not in ("", _base_of(run)) for gate in run.gates)


def note_results(work: Work, claims: Claims) -> None:
    """Record which gates a run has passed, and which have failed on the unchanged tree."""
    case = work.case_of(claims.identity)
    if case is None or case.run.project is None:
        return
    run = case.run
    known, is_check = read_known(work.tx, run), Judging.of(run).unchanged
    judged = (one for one in claims.gates if one.passed or (is_check and one.judged))
    learned = {**known, **{one.argv: "" if one.passed else _base_of(run) for one in judged}}
    if learned != known:
        rows = [[list(gate), fails_on] for gate, fails_on in learned.items()][-MOST_GATES:]
        work.tx.put(Setting(f"gates:{run.project}", rows, work.core.wall_ms(), run.created_by))


def _base_of(run: Run) -> str:
    return str(run.workspace.get("base"))


def is_checkable(run: Run) -> bool:
    """Whether the run begins with only a snapshot of its repository, so that any node can check its gates."""
    begins = Lineage.of(run)
    others = (begins.continues, begins.begins, begins.takes, begins.resolves, begins.in_workspace, run.judges)
    is_alone = not any(others) and not run.takes_turns and not run.holds_gpus
    return is_alone and run.project is not None and run.workspace.get("kind") == "git"


def wait_for_check(work: Work, joining: Joining) -> Run:
    """Make a new run wait for the check of its gates, if its user wants it. UsageError if not possible."""
    run = joining.run
    if not GateTerms.of(run).check_first:
        return run
    if not is_checkable(run) or run.waits is WaitReason.WORKFLOW or Approvals.of(run).asks:
        raise UsageError(
            f"the gates of {run.id} cannot be checked before it starts",
            why="--check-gates-first requires a run that starts at once, only on files of a repository, "
            "without GPUs",
            fix="leave out --check-gates-first",
            code="uncheckable_gates",
        )
    work.tx.insert(make_action(run, work.core.wall_ms()))
    return replace(run, waits=WaitReason.GATES, reason=WAITS)


def check_new_gates(tx: Transaction, made: Changes) -> Changes:
    """Start a check of those gates of a placed run that are new, at the same time as the run. Idempotent."""
    run = made.run
    is_due = is_checkable(run) and has_new_gate(tx, run) and tx.get(Action, action_id(run.id)) is None
    return made.add(make_action(run, made.now.ms)) if is_due else made


def make_action(run: Run, at_ms: int) -> Action:
    """Return the action that checks the gates of the run."""
    return Action(action_id(run.id), ActionKind.CHECK_GATES, run.id, at_ms, run.created_by)


def action_id(run: str) -> str:
    """Return the id of the action that checks the gates of this run."""
    return f"gates:{run}"


def mark_failed_gates(tx: Transaction, made: Changes) -> Changes:
    """Mark an ended run's failed gates that are known to fail without its change. Idempotent."""
    run = made.run
    if run.outcome is not Outcome.VERIFY_FAILED or run.judges:
        return made
    rows, known = rows_of(run.result.get("gates")), read_known(tx, run)
    failed = [one for one in rows if not one["passed"]]
    base = _base_of(run)
    already = [one for one in failed if known.get(argv_of(one)) == base and not one.get("already_fails")]
    if not already:
        return made
    marked = [{**one, "already_fails": True} if one in already else one for one in rows]
    reason = f"{run.reason}; {ALREADY}" if failed[0] in already else run.reason
    made = made.put(replace(run, reason=reason, result={**run.result, "gates": marked}))
    for one in already:
        made = made.tell(
            "gate", str(one["name"]), "already fails", "the gate also fails on the unchanged tree"
        )
    return made


@dataclass(frozen=True, slots=True)
class GatesChecked(Signal):
    """The signal that the check of the run's gates on the unchanged tree has ended or is not possible.
    `check`: the run that has checked the gates, or `gates`; `failure`: why the check failed, or None."""

    check: str
    failure: FailureKind | None
    why: str

    def apply(self, made: Changes) -> Changes:
        """If the run waits for the check, start it or, if the check failed, end it."""
        made = made.tell("gate", self.check, "checked", f"gates on the unchanged tree: {self.why}")
        if made.run.state is not RunState.PENDING or made.run.waits is not WaitReason.GATES:
            return made
        if self.failure is None:
            return begin_waiting(made)
        is_red = self.failure is FailureKind.GATE_FAILED
        why = f"{self.why}; {ALREADY}" if is_red else f"its gates were not checked: {self.why}"
        return end_unstarted(made, self.failure, f"{why}: fix it first, or skip the gates with --no-verify")


class GateChecks:
    """A pancode.runs.follow_on_actions.Doer that begins a check if no work waits, and reports its verdict."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def do(self, run: str, stopping: Callable[[], bool]) -> None:
        """Begin the check, report its verdict, or try again later. UnavailableError if the depot is full."""
        try:
            with unit_of_work(self._core) as work:
                found, action = work.tx.get(Run, run), work.tx.get(Action, action_id(run))
                if found is not None and action is not None:
                    follow_check(work, found, action, work.tx.get(Run, str(action.detail.get("check"))))
        except UnavailableError:
            raise
        except PancodeError as error:
            self.give_up(run, error)

    def give_up(self, run: str, error: Exception) -> None:
        """Report to the run that its gates cannot be checked."""
        why = f"{error}{f': {error.why}' if isinstance(error, PancodeError) and error.why else ''}"
        with unit_of_work(self._core) as work:
            found = work.tx.get(Run, run)
            if found is not None:
                end_check(work, found, GatesChecked("gates", FailureKind.NODE_INTERNAL, why))


def follow_check(work: Work, run: Run, action: Action, check: Run | None) -> None:
    """Begin the check of the run's gates, stop the check while it is not needed, or report its verdict."""
    is_first = GateTerms.of(run).check_first
    if check is not None and check.state is not RunState.ENDED:
        is_in_the_way = not is_first and has_waiting_work(work)
        if check.stop_asked is None and (is_in_the_way or not is_answer_useful(work, run)):
            work.signal(check, Stop(YIELDS))
    elif check is not None and check.stop_asked != YIELDS:
        return end_check(work, run, GatesChecked(check.id, check.failure, check.reason))
    elif is_answer_useful(work, run):
        check = begin_check(work, run, is_first)
    else:
        return end_check(work, run)
    detail: dict[str, object] = {"check": check and check.id}
    pause_ms = WORKS_MS if is_first or check is not None else WAITS_MS
    work.tx.put(replace(action, at_ms=work.core.wall_ms() + pause_ms, detail=detail))


def is_answer_useful(work: Work, run: Run) -> bool:
    """Whether the run waits for the check, has not ended, or has just failed a new gate without a decision on
    it."""
    if run.state is not RunState.ENDED:
        return GateTerms.of(run).check_first or has_new_gate(work.tx, run)
    is_recent = work.core.wall_ms() - (run.finished_ms or 0) < HELPS_MS
    is_open = run.outcome is Outcome.VERIFY_FAILED and run.landed is None and is_left(run)
    return is_recent and is_open and has_new_gate(work.tx, run)


def begin_check(work: Work, run: Run, is_first: bool) -> Run | None:
    """Queue a run of the gates on the unchanged tree; None while another check of the repository runs, or
    while other work needs the slot."""
    core, tx = work.core, work.tx
    commit, gates = str(run.workspace["snapshot"]), require_gates((run,))
    check = replace(
        judging_run(core, run, new_id_in(core, tx), commit, run.created_by, gates),
        task=f"gates of {run.id} on the unchanged tree",
        priority=run.priority if is_first else OPTIONS["priority"].least or 0,
    )
    actions = (one for one in tx.find(Action) if one.kind is ActionKind.CHECK_GATES)
    others = (tx.get(Run, str(one.detail.get("check"))) for one in actions)
    if any(one and one.project == run.project and one.state is not RunState.ENDED for one in others):
        return None
    if not is_first and (has_waiting_work(work) or not has_free_slot(work, check)):
        return None
    admit_at_commit(work, Judging(run.id, unchanged=True).on(check))
    work.tell(run.id, "gate", check.id, "begun", "the gates run on the unchanged tree")
    work.after(partial(reconcile.act_now, core))
    return check


def end_check(work: Work, run: Run, *verdict: GatesChecked) -> None:
    """Report the verdict to the run if there is one, and mark the run's gates that are known to fail."""
    work.tx.delete(Action, action_id(run.id))
    work.signal(run, *verdict)
    work.after(partial(reconcile.act_now, work.core))


def has_waiting_work(work: Work) -> bool:
    """Whether any run waits for a slot, here or on a node that already has its job."""
    return any(one.wants_slot for one in work.core.kept.waiting(work.tx).all.values())


def has_free_slot(work: Work, check: Run) -> bool:
    """Whether a node that can take the check has a free slot."""
    leases, freed = open_leases(work.tx), work.core.live.contacts.freed
    fitting = (view for view in work.core.views(work.tx) if not explain_misfit(check, view))
    return any(free_slots(view, leases, freed.get(view.node.tag or "", ())) > 0 for view in fitting)
