"""Takes one run through dispatch: plan, take its snapshot, judge again, reserve the budget, queue."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from decimal import Decimal

from typing_extensions import TypedDict

from pancode.kernel.ports import SnapshotRequest, SnapshotTaken, Transaction
from pancode.kernel.records import Run
from pancode.runs.admission.plan import Plan
from pancode.runs.admission.planning import judge_again, must_pass, prepare_plan
from pancode.runs.admission.request_rules import WAITS_TO_LAND
from pancode.runs.answers import QueuedAnswer
from pancode.runs.core import Core, decide_locked
from pancode.runs.facts import Approvals, Lineage, Messages, SessionTurn
from pancode.runs.features import Joining, features_of
from pancode.runs.life.approvals import AskedFirst
from pancode.runs.life.binding import Admitted
from pancode.runs.life.conversation import list_next_runs
from pancode.runs.life.ends import GivenUp
from pancode.runs.life.waits import Continued
from pancode.runs.placement.binding import bind_in
from pancode.runs.remaining_budget import within_parent
from pancode.runs.request import DispatchRequest
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import is_taken, must_have_no_next


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The queued run, with notes for the user."""

    run: Run
    warnings: tuple[str, ...]
    chosen: str = ""
    """Why this agent was chosen; empty: it was named."""


# -- the steps of a dispatch, in order
# ------------------------------------------------------------------------


def dispatch_run(
    core: Core,
    around: Surroundings,
    request: DispatchRequest,
    parent: str | None = None,
    run_id: str | None = None,
) -> Dispatched:
    """Queue the run, or raise the refusal of the first gate that refuses. No lock is held while the snapshot
    is taken. `run_id`: the id for the run; None: a new one."""
    make = prepare_plan(core, around, request, parent)

    def begin() -> tuple[Plan, str, Dispatched | None]:
        plan, run = must_pass(core, make()), run_id or new_id(core)
        # A run without a project needs no snapshot, so it is queued under the same lock as its verdicts.
        return plan, run, _queue(core, plan, run) if plan.project is None else None

    plan, run, done = decide_locked(core.lists, core.lock, begin)
    if done is not None:
        return done
    plan = lay_inputs(core, add_snapshot(core, plan, run), run)
    # A snapshot may take long; meanwhile the fleet may drain, budget be spent, and nodes become unavailable.
    done = decide_locked(core.lists, core.lock, lambda: _queue(core, judge_again(core, plan), run))
    waits = (WAITS_TO_LAND,) if request.land and not plan.request.land else ()
    return replace(done, warnings=(*done.warnings, *waits))


def make_plan(core: Core, around: Surroundings, request: DispatchRequest) -> Plan:
    """Return the plan if all gates let the run pass now; else raise the first refusal. Nothing is queued."""
    make = prepare_plan(core, around, request)
    return decide_locked(core.lists, core.lock, lambda: must_pass(core, make()))


def dry_run(
    core: Core, around: Surroundings, request: DispatchRequest, parent: str | None = None, later: bool = False
) -> Plan:
    """Return the plan with all ten verdicts, and change nothing. PancodeError if the request cannot be
    resolved. `later`: the run begins later."""
    return decide_locked(core.lists, nullcontext(), prepare_plan(core, around, request, parent, later))


def add_snapshot(core: Core, plan: Plan, run: str) -> Plan:
    """Return the plan with the run's snapshot; unchanged if the run has no project. WorkspaceError."""
    project, progress = plan.project, core.live.taking
    if project is None:
        return plan

    begins, depot = plan.request.begins, core.ports.depot
    if begins is not None:
        known = SnapshotTaken(begins.repo, begins.base, begins.commit, begins.object_format)
        depot.begin_at(run, known)
        return plan.at(known)

    def report(done: int, of: int) -> None:
        progress[run] = (project, done, of)

    report(0, 0)
    try:
        wanted = SnapshotRequest(project, run, plan.request.folder, plan.allowed_files, report)
        return plan.at(depot.snapshot(wanted))
    finally:
        del progress[run]


class UnderWay(TypedDict):
    """A snapshot that is being taken. `of`: the number of files; 0 until they are counted."""

    run: str
    project: str
    done: int
    of: int


def under_way(core: Core) -> list[UnderWay]:
    """Return the snapshots that are being taken now, oldest first."""
    now = list(core.live.taking.items())
    return [UnderWay(run=run, project=at, done=done, of=of) for run, (at, done, of) in now]


def lay_inputs(core: Core, plan: Plan, run: str) -> Plan:
    """Return the plan with files that features add to the checkout, each on top of the last snapshot."""
    for hook in features_of(core).inputs:
        laid = hook.act(core, plan, run) if hook.concerns(plan) else None
        if laid is not None:
            plan = replace(plan, snapshot=laid.snapshot, inputs=(*plan.inputs, laid))
    return plan


def _queue(core: Core, plan: Plan, run_id: str) -> Dispatched:
    """Queue the run under the lock under which the gates judged it."""
    # Writes the verdicts, the reservation, the run, the end of the run that it replaces, and a job if a slot
    # is free, in one commit: all or nothing. Each commit waits for the disk, so a second one would delay the
    # start on an idle fleet.
    with unit_of_work(core) as work:
        run = put_in_queue(work, run_of(core, plan, run_id), plan, plan.request.budget)
        if not core.live.binding.waiting:
            bind_in(work)
    return Dispatched(run, plan.warnings, plan.chosen)


# -- inside the transaction that queues it -------------------------------------------------------------------


def new_id(core: Core) -> str:
    with core.ports.ledger.transaction() as tx:
        return new_id_in(core, tx)


def new_id_in(core: Core, tx: Transaction) -> str:
    """Return an id that no run has; it is taken only when a run with it is written."""
    while True:
        fresh = f"r-{core.ports.ids.short(6)}"
        if tx.get(Run, fresh) is None:
            return fresh


def run_of(core: Core, plan: Plan, run_id: str) -> Run:
    """Return the run of the plan, as it is queued."""
    return plan.run(run_id, core.wall_ms(), core.ports.ids.token(8), plan.place)


def put_in_queue(work: Work, run: Run, plan: Plan, budget: Decimal | None = None) -> Run:
    """Record the decisions on the run and admit it, inside a transaction; no job is made."""
    for verdict in plan.verdicts:
        word = "warning" if verdict.warning else "passed" if verdict.passed else "asks a user"
        work.tell(run.id, "gate", verdict.gate, word, verdict.words)
    if plan.chosen:
        work.tell(run.id, "agent", run.agent, "chosen", plan.chosen)
    if plan.model_from:
        work.tell(run.id, "model", run.asked_model or "", "chosen", plan.model_from)
    for line in plan.timeline:
        work.tell(run.id, line.kind, line.what, line.verdict, "; ".join(line.words))
    return admit_run(work, run, budget)


def admit_run(work: Work, run: Run, budget: Decimal | None = None) -> Run:
    """Queue the run in this transaction; RefusedError with the amounts if a ceiling has no room for the run.
    `budget`: the ceiling of a new session.

    A refusal rolls the transaction back, so that no earlier run is given up.
    """
    tx, lineage = work.tx, Lineage.of(run)
    old = tx.get(Run, lineage.continues) if lineage.continues is not None else None
    replaced = tx.get(Run, run.retry_of) if run.retry_of is not None else None
    # The retry of a headless run begins a new chain; that of an interactive run is its session's next run.
    run = in_chain(run, old or (replaced if run.takes_turns else None))
    if lineage.recovers and (recovered := old or replaced) is not None:
        must_have_no_next(tx, recovered)  # Another recovery of the same run may have been faster.
    joining = Joining(run, old, budget)
    for hook in features_of(work.core).join:
        if hook.concerns(joining):
            joining = replace(joining, run=hook.act(work, joining))
    # Runs queued earlier in this transaction already use part of the parent's remaining budget.
    run = within_parent(work.core, tx, joining.run)
    admitted = work.signal(replace(run, epoch=work.core.epoch), admission_of(work, run))
    if replaced is not None:
        work.signal(replaced, GivenUp(run.id))
    # Read the old run again, as a feature or the new run's admission may have changed it.
    if lineage.continues is not None and (old := tx.get(Run, lineage.continues)) is not None:
        _record_next(work, old, run)
    return admitted


def in_chain(run: Run, old: Run | None) -> Run:
    """Return the run with its session and place after the old run. It begins a new session if another run
    already continues the old one, or if it is the first interactive run in another run's files."""
    if old is None or list_next_runs(old) or run.session not in ("", old.session):
        return replace(run, session=run.id, place=1)
    return replace(run, session=old.session, place=old.place + 1)


def admission_of(work: Work, run: Run) -> Admitted | AskedFirst:
    """Return the signal with which the run begins: admitted with its reservation, or waiting for approval."""
    return AskedFirst() if Approvals.of(run).asks else Admitted(work.core.budget_scopes(work.tx, run))


def _record_next(work: Work, old: Run, run: Run) -> None:
    """Record that the run continues the old one. In a workspace, a lost old run is given up, so that it
    cannot deliver a second result later."""
    stays, messages = bool(Lineage.of(run).in_workspace), Messages.of(run)
    if stays:
        old = work.signal(old, GivenUp(run.id))
    sole = stays or bool(messages.answers) or run.takes_turns or is_taken(work.tx, old)
    past_cap = SessionTurn.of(run).past_cap
    work.signal(old, Continued(run.id, run.created_by, sole, messages.program, past_cap))


def describe_queued(done: Dispatched) -> QueuedAnswer:
    """Return the API answer for the queued run: its state, its workflow, and warnings."""
    run = done.run
    answer: QueuedAnswer = {
        "run": run.id,
        "state": run.state.value,
        "reason": run.reason,
        "agent": run.agent,
        "chosen": done.chosen,
        "warnings": list(done.warnings),
    }
    return answer if run.workflow is None else {**answer, "workflow": run.workflow}
