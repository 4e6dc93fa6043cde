"""Admission: load one view, resolve, judge by ten gates, take the snapshot, judge again, hold and queue."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache

from typing_extensions import TypedDict

from node_agent.policy.rulefile import RuleError, together
from pancode.agents.default_worker import DefaultWorker, find_workers
from pancode.agents.endpoints import costs_nothing
from pancode.agents.model_profiles import ModelPlace, Needs, untested
from pancode.budget import books
from pancode.kernel.errors import ConfigError, PancodeError, RefusedError, with_fix
from pancode.kernel.ports import SnapshotRequest, SnapshotTaken, Transaction
from pancode.kernel.records import Balance, BookEntry, Run, Setting
from pancode.memory.prior_runs import RecordsPicker, WorkPlace, given_skills, recalled, recent
from pancode.runs.admission.gates import (
    DO_IT_THERE,
    GateVerdict,
    asks_for,
    first_refused,
    judge,
    nothing_left,
    objections,
    refusal,
    used_up,
)
from pancode.runs.admission.gates.safety import accepted
from pancode.runs.admission.request_rules import WAITS_TO_LAND, as_allowed, as_task
from pancode.runs.admission.resolution import Resolution, Unresolved, names_worker, resolve, with_other
from pancode.runs.core import Core, decided
from pancode.runs.facets import Approvals, Lineage, ModelChoice, Provision, Words
from pancode.runs.life.approvals import AskedFirst
from pancode.runs.life.binding import Admitted
from pancode.runs.life.continuations import leads, payer_of
from pancode.runs.life.ends import GivenUp
from pancode.runs.life.turns import Caller, SessionTurn
from pancode.runs.life.waits import Continued
from pancode.runs.placement.binding import bind_in
from pancode.runs.placement.candidates import failures, sifted, unknowns
from pancode.runs.remaining_budget import left_for_children, limit_usd, paid_by, scope_view, session_view
from pancode.runs.request import (
    NO_SKILLS,
    AdmissionView,
    Catalogue,
    DispatchRequest,
    GivenNote,
    GivenSkills,
    Parent,
    PathFact,
    outranked_for,
)
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import is_taken, must_have_no_next
from pancode.sessions.store import add_sitting, joined_chain, make_room, parent_of, payer
from pancode.workflows import step_replacement
from pancode.workspaces.input_diffs import prd_for, told_of, with_shown
from pancode.workspaces.rules import at_its_place, joined


class UnderWay(TypedDict):
    """A snapshot that is being taken. `of`: the number of files; 0 until they are counted."""

    run: str
    project: str
    done: int
    of: int


def take(core: Core, resolution: Resolution, run: str) -> SnapshotTaken | None:
    """Take the run's snapshot and return it; None when the run has no project. WorkspaceError."""
    project, progress = resolution.project, core.live.taking
    if project is None:
        return None

    begins = resolution.request.begins
    if begins is not None:
        known = SnapshotTaken(begins.repo, begins.base, begins.commit, begins.object_format)
        core.ports.depot.begin_at(run, known)
        return known

    def report(done: int, of: int) -> None:
        progress[run] = (project, done, of)

    report(0, 0)
    try:
        return core.ports.depot.snapshot(
            SnapshotRequest(project, run, resolution.request.folder, resolution.allowed_files, report)
        )
    finally:
        del progress[run]


def under_way(core: Core) -> list[UnderWay]:
    """Return the snapshots that are being taken now, oldest first."""
    now = list(core.live.taking.items())
    return [UnderWay(run=run, project=at, done=done, of=of) for run, (at, done, of) in now]


def admission_of(work: Work, run: Run) -> Admitted | AskedFirst:
    """Return the signal that begins the run: admitted with its hold, or asked of a person first."""
    return AskedFirst() if Approvals.of(run).asks else Admitted(work.core.purses(work.tx, run))


def admit(work: Work, run: Run, budget: Decimal | None = None) -> Run:
    """Queue the run in this transaction; RefusedError with the numbers when a ceiling has no room for it.
    `budget`: what a new session may cost.

    A refusal rolls the transaction back, so no earlier run is given up.

    A run that goes on from the question of a workflow's step is that step's next run, and so is its retry.
    """
    tx, before, lineage = work.tx, Lineage.of(run).continues, Lineage.of(run)
    old = tx.get(Run, before) if before is not None else None
    replaced = tx.get(Run, run.retry_of) if run.retry_of is not None else None
    run = joined_chain(run, old or (replaced if run.takes_turns else None))
    if run.takes_turns:
        add_sitting(work, run, budget)
    if SessionTurn.of(run).past_cap:
        make_room(work, run)
    if lineage.recovers and (recovered := old or replaced) is not None:
        must_have_no_next(tx, recovered)
    run = _within_parent(work, run)
    step = step_replacement.place_of(tx, old) if old is not None else None
    if replaced is not None and lineage.in_step:
        step = step_replacement.must_take(tx, replaced)
    run = step_replacement.placed(run, step, old or replaced) if step is not None else run
    admitted = work.signal(replace(run, epoch=work.core.epoch), admission_of(work, run))
    if replaced is not None:
        work.signal(replaced, GivenUp(run.id))
    if before is not None and (old := tx.get(Run, before)) is not None:
        _goes_on(work, old, run)
    if step is not None:
        step_replacement.taken(work, step, admitted)
    return admitted


def _goes_on(work: Work, old: Run, run: Run) -> None:
    """Record that the run goes on from the old one. In a workspace a lost old run is given up: its late
    result would be a second one.
    """
    stays = bool(Lineage.of(run).in_workspace)
    if stays:
        old = work.signal(old, GivenUp(run.id))
    said = Words.of(run)
    sole = stays or bool(said.answers) or run.takes_turns or is_taken(work.tx, old)
    past_cap = SessionTurn.of(run).past_cap
    work.signal(old, Continued(run.id, run.created_by, sole, said.program, past_cap))


def _within_parent(work: Work, run: Run) -> Run:
    """Return the run, its limit cut to what its parent has left. Runs queued before it in this transaction
    have taken their part. RefusedError if nothing is left.
    """
    tx = work.tx
    parent = paid_by(tx, run)
    if parent is None:
        return run
    if leads(parent):
        return _within_session(work, run)
    left = left_for_children(tx, parent)
    if left == 0:
        raise RefusedError(nothing_left(parent.id), fix=DO_IT_THERE, code="refused_budget")
    return run if left is None else _capped(run, left)


def _within_session(work: Work, run: Run) -> Run:
    """Cut the limit of a run that an orchestrator begins to what its session has left. A run without a budget
    that fits, which could take all of that, gets half of it or its estimate, so that the next one can begin
    beside it.
    """
    view = session_view(work.core, work.tx, payer_of(run))
    limit, left, named = limit_usd(run), view.left, Caller.of(run).named_usd
    if left is None:
        return run
    if left == 0 and not ModelChoice.of(run).free:
        raise refusal(used_up(view))
    fits = bool(named) and Decimal(named) <= left
    if not fits and (limit is None or limit >= left):
        left = min(left, max(run.estimate_usd, left / 2))
    return _capped(run, left)


def _capped(run: Run, usd: Decimal) -> Run:
    """Return the run with a limit of at most this amount."""
    limit = limit_usd(run)
    usd = usd if limit is None else min(limit, usd)
    limits = {**run.limits, "usd": f"{usd:f}"}
    return replace(run, limits=limits, estimate_usd=min(run.estimate_usd, usd))


HISTORY = 200
"""How many earlier runs the estimate reads."""


@dataclass(frozen=True, slots=True)
class JudgedDispatch:
    """The plan of a dispatch, with the verdict of each of the ten gates."""

    resolution: Resolution
    verdicts: tuple[GateVerdict, ...]
    untested: tuple[ModelPlace, ...] = ()
    """The model servers of which at least one has to be tested first."""
    costly: bool = False
    """Whether the test costs money."""
    notes: tuple[str, ...] = ()
    """What nobody knows about the run's model, in words."""
    outranked: tuple[str, ...] = ()
    """The variables of this one command over which a preset wins, in words."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The queued run, with what the person should know about it."""

    run: Run
    warnings: tuple[str, ...]
    chosen: str = ""
    """Why this agent was chosen, where nobody named one."""


@dataclass(frozen=True, slots=True)
class AskedDispatch:
    """A request with the parts of the world that do not change while it is judged."""

    request: DispatchRequest
    parent: str | None
    paths: tuple[PathFact, ...]
    picker: RecordsPicker
    """Chooses agent and model by the records, with one random draw for the whole dispatch."""
    notes: Callable[[], tuple[GivenNote, ...]] = tuple
    """Returns the notes of earlier runs that fit the request; read at the first call and then kept."""
    skills: Callable[[bool, tuple[str, ...]], GivenSkills] = lambda of_project, names: NO_SKILLS
    """Returns the skills of these names and, where the flag is set, of the project; also read once."""
    prd: Callable[[], str] = str
    """Returns the file that tells what the project is to become (PRD); also read once."""


def dry_run(
    core: Core, around: Surroundings, request: DispatchRequest, parent: str | None = None
) -> JudgedDispatch:
    """Return all ten verdicts and change nothing. PancodeError when the request cannot be resolved."""
    asked = ask(core, around, request, parent)
    return decided(core.lists, nullcontext(), lambda: _judge(core, around, asked))


def dispatch(
    core: Core,
    around: Surroundings,
    request: DispatchRequest,
    parent: str | None = None,
    run_id: str | None = None,
) -> Dispatched:
    """Queue the run, or raise the first gate's refusal. No lock is held while the snapshot is taken.

    `run_id`: the id for the run; None: a fresh one.
    """
    lands, asked = request.land, ask(core, around, request, parent)
    begun = decided(core.lists, core.lock, lambda: _begun(core, around, asked, run_id))
    if isinstance(begun, Dispatched):
        return begun
    judged, run_id = begun
    snapshot, origin = take(core, judged.resolution, run_id), ""
    if snapshot is not None:
        request = replace(asked.request, repo=snapshot.repo)
        snapshot, origin = with_shown(core, judged.resolution, run_id, snapshot)
        looks = {**request.scouts, "tree": snapshot.tree, "folder": request.folder} if request.scouts else {}
        asked = replace(asked, request=replace(request, scouts=looks))
    # judged again: a snapshot may take long
    done = decided(
        core.lists, core.lock, lambda: _queued(core, passed(core, around, asked), run_id, snapshot, origin)
    )
    waits = (WAITS_TO_LAND,) if lands and not asked.request.land else ()
    return replace(done, warnings=(*done.warnings, *waits))


def _begun(
    core: Core, around: Surroundings, asked: AskedDispatch, wanted: str | None
) -> Dispatched | tuple[JudgedDispatch, str]:
    """Return the queued run if it needs no project; else the judged request and the run's id."""
    judged = passed(core, around, asked)
    run_id = wanted or new_id(core)
    return _queued(core, judged, run_id, None) if judged.resolution.project is None else (judged, run_id)


def _queued(
    core: Core,
    judged: JudgedDispatch,
    run_id: str,
    snapshot: SnapshotTaken | None,
    origin: str = "",
) -> Dispatched:
    """Queue the run under the lock under which the gates were asked. `origin`: of the change it is shown."""
    run = told_of(run_of(core, judged.resolution, run_id, snapshot), origin)
    # Writes the gates' words, the hold, the run, the end of the run that it replaces, and an order if a slot
    # is free: all or nothing.
    # An idle fleet serves it at once, and each commit waits for the disk, so both are one commit.
    with unit_of_work(core) as work:
        queued = put_in_queue(work, run, judged, judged.resolution.request.budget)
        if not core.live.binding.waiting:
            bind_in(work)
    run = queued
    return Dispatched(run, warnings_of(judged, snapshot), judged.resolution.chosen)


def warnings_of(judged: JudgedDispatch, snapshot: SnapshotTaken | None) -> tuple[str, ...]:
    """Return the warnings for the person who dispatched the run."""
    own = judged.resolution.runtime.own  # its owner knows that nothing holds a program of one's own
    seen = [v for v in judged.verdicts if v.warning and not (own and v.gate == "safety")]
    warned = [with_fix(v.words, v.fix) for v in seen]
    left_out = judged.resolution.skills.left_out
    taken = snapshot.warnings if snapshot is not None else ()
    return (*judged.outranked, *warned, *judged.notes, *left_out, *taken)


def _catalogue(core: Core, around: Surroundings, asked: AskedDispatch) -> Catalogue:
    """Return the agents, models and nodes to choose from now."""
    project = asked.request.project
    with core.ports.ledger.transaction() as tx:
        nodes = tuple(core.views(tx))
    return Catalogue(
        agents=around.agents(project),
        nodes=nodes,
        defaults=around.defaults(project),
        project=around.project(project),
        rules=around.rules(project),
        vendors=core.lists,
        pick=asked.picker.agent,
        pick_model=asked.picker.model,
        notes=asked.notes,
        prd=asked.prd,
        skills=asked.skills,
        expect=asked.picker.expect,
        figure=asked.picker.figure,
    )


def ask(core: Core, around: Surroundings, request: DispatchRequest, parent: str | None) -> AskedDispatch:
    """Return the request with its project and all that is read from the world only once.

    `parent` None: the request names the parent itself, as a step of a run's own workflow does.
    """
    parent, request = parent or request.parent, at_its_place(around, as_allowed(request))
    paths = around.paths(as_task(request).task, request.cwd, request.project)
    recent(core)  # read before anything is locked
    defaults, task = around.defaults(request.project), as_task(request).task
    picker = RecordsPicker(core, request.project, defaults.explore)
    top = request.project if request.workspace in (None, "git") else None
    place = WorkPlace(top, request.in_workspace, request.lane)
    notes = cache(lambda: recalled(core, place, task, defaults.history_tokens))
    skills = cache(lambda own, names: given_skills(core, around, request.project if own else None, names))
    prd = cache(lambda: "" if top is None else prd_for(core.ports.depot, around, top, request.begins))
    return AskedDispatch(request, parent, paths, picker, notes, skills, prd)


def passed(core: Core, around: Surroundings, asked: AskedDispatch) -> JudgedDispatch:
    """Judge the request by all gates now; raise and record the first refusal."""
    judged = _judge(core, around, asked)
    verdict = first_refused(judged.verdicts, asked.request.ask)
    if verdict is not None:
        with unit_of_work(core) as work:
            work.audit(
                "dispatch",
                "error",
                "refused",
                None,
                gate=verdict.gate,
                words=verdict.words,
                by=asked.request.created_by,
            )
        raise refusal(verdict, asked.request.takes_ask).because(*judged.outranked)
    if judged.untested:
        raise untested(judged.untested[0], judged.costly)
    return judged


def _judge(core: Core, around: Surroundings, asked: AskedDispatch) -> JudgedDispatch:
    above = None if asked.parent is None else parent_of(core, asked.parent)
    request = _as_child(asked.request, above)
    session = payer(core, request, above)
    catalogue = _under(_catalogue(core, around, asked), above)
    # the request, which may cost no more than the session has left that pays for it
    left = None if session is None else session.left
    caps = [usd for usd in (request.most_usd, left) if usd is not None]
    as_sitting = replace(request, most_usd=min(caps, default=None))

    def judge_with(worker: DefaultWorker) -> JudgedDispatch:
        """Judge it with that worker; an empty one: with what the request, its agent or the settings name."""
        runtime, model = worker.runtime or as_sitting.runtime, worker.model or as_sitting.model
        resolved = resolve(replace(as_sitting, runtime=runtime, model=model), catalogue)
        if isinstance(resolved, Unresolved):
            raise resolved.error.because(*outranked_for(asked.request, catalogue.defaults))
        if worker.text:  # the request stays as it was, and is judged anew later
            nobody = f"with {worker.text}, as nobody has named a model"
            named = replace(resolved.request, runtime=as_sitting.runtime, model=as_sitting.model)
            chosen = "; ".join(filter(None, (resolved.chosen, nobody)))
            source = nobody if worker.model else ""
            resolved = replace(resolved, request=named, chosen=chosen, model_from=source)
        view = replace(_view(core, around, resolved, asked), parent=above, session=session)
        resolved, places, notes = _trusted(resolved, catalogue)
        verdicts = judge(resolved, view)
        if first_refused(verdicts) is None:
            resolved = with_other(resolved, catalogue, lambda one: first_refused(judge(one, view)) is None)
        costly = any(not costs_nothing(catalogue.nodes, one.endpoint, one.model) for one in places)
        outranked = _outranked(resolved, catalogue)
        if resolved.request.ask:
            resolved = replace(resolved, asks=asks_for(verdicts), objections=objections(verdicts))
        # the run as it is queued: the request is not yet the permission
        told_only = accepted(resolved, above)
        on_record = replace(resolved, request=replace(resolved.request, told_only=told_only))
        return JudgedDispatch(on_record, verdicts, places, costly, notes, outranked)

    later: JudgedDispatch | None = None
    if not names_worker(
        as_sitting, catalogue
    ):  # the first that is ready, else the first that could do it later
        for worker in find_workers(request.node, catalogue.nodes, catalogue.defaults.tiers):
            try:
                found = judge_with(worker)
            except PancodeError:
                continue  # this one takes no turns, or has no such option
            admitted = first_refused(found.verdicts, request.ask) is None and not found.untested
            if admitted and any(one.ready for one in found.resolution.candidates):
                return found
            later = later or found
    return later or judge_with(DefaultWorker())


def _outranked(resolved: Resolution, catalogue: Catalogue) -> tuple[str, ...]:
    """Return the outranked variables; none for a user's own program, or where the agent sets them."""
    agent, request = resolved.agent, resolved.request
    request = replace(
        request, model=request.model or agent.model, reasoning=request.reasoning or agent.reasoning
    )
    return () if resolved.runtime.own else outranked_for(request, catalogue.defaults)


def _trusted(
    resolved: Resolution, catalogue: Catalogue
) -> tuple[Resolution, tuple[ModelPlace, ...], tuple[str, ...]]:
    """Return the resolution with the nodes that passed the model's test, servers to test, unknown facts."""
    if resolved.wanted is None:
        return resolved, (), ()
    wanted = resolved.wanted
    if resolved.request.untested:
        return resolved, (), (f"the model {wanted.model} counts without a test, as you said (--untested)",)
    needs = Needs(wanted.endpoint, wanted.model, resolved.agent.read_only)
    shown, places = sifted(resolved.candidates, catalogue.nodes, needs)
    words, able = failures(resolved.candidates, catalogue.nodes, needs), any(one.fits for one in shown)
    if words and not able and resolved.request.model and (needs.read_only or resolved.request.turns):
        # only its test speaks against the model that its owner names, for a chat or an agent that only reads
        if resolved.request.confirmed:
            accepted = replace(resolved, request=replace(resolved.request, untested=True))
            return accepted, (), tuple(f"{one}; it is used, as you said (--yes)" for one in words)
        shown = tuple(
            replace(one, fix=f"{one.fix}; or use it as it is: --yes" if one.fix else "") for one in shown
        )
    return replace(resolved, candidates=shown), places, unknowns(shown, catalogue.nodes, needs)


def _under(catalogue: Catalogue, above: Parent | None) -> Catalogue:
    """Return the catalogue with the parent's rules added: a run may edit the rules in its own checkout, so
    the rules that it has hold for its children.
    """
    if above is None:
        return catalogue
    try:
        return replace(catalogue, rules=together(catalogue.rules, above.rules))
    except RuleError as wrong:
        raise ConfigError(f"{wrong}, with those of run {above.run}", why=wrong.why, fix=wrong.fix) from wrong


def _as_child(request: DispatchRequest, above: Parent | None) -> DispatchRequest:
    """Return the request as a child of the run that asks; a caller's own depth may only add to it."""
    if above is None:
        return request
    depth = max(request.depth, above.depth + 1)
    request = replace(request, charged_to=above.session or request.charged_to)
    walled = request.walled or above.walled  # a request without a person's yes keeps its own wall
    return replace(request, depth=depth, parent=above.run, most_usd=above.usd_left, walled=walled)


def _view(core: Core, around: Surroundings, resolution: Resolution, asked: AskedDispatch) -> AdmissionView:
    scopes = [books.day_scope(core.wall_ms(), core.tz), books.agent_scope(resolution.agent.name)]
    scopes += [books.repo_scope(resolution.project)] if resolution.project is not None else []
    with core.ports.ledger.transaction() as tx:
        draining = tx.get(Setting, "draining")
        purses = [*core.held_in(tx, scopes), *core.period_purses(tx)]
        return AdmissionView(
            scopes=tuple(scope_view(tx, purse, resolution.due) for purse in purses),
            unknown=_unknown_today(core, tx, purses[0].balance.scope),
            max_depth=around.max_depth(),
            draining=str(draining.value) if draining is not None else None,
            paths=asked.paths,
            ended=core.live.ended(core.wall_ms(), core.rules.retry_pause_ms),
        )


def _unknown_today(core: Core, tx: Transaction, scope: str) -> tuple[str, ...]:
    """The runs of the day with an unknown cost; the entries are read again only when the set has changed."""
    balance = tx.get(Balance, scope)
    if balance is None or not balance.unknown_runs:
        return ()
    known = core.live.unknown_runs
    if known is None or known[:2] != (scope, balance.unknown_runs):
        runs = books.unknown_runs(tx.find(BookEntry, {"scope": scope}, order=None))
        known = core.live.unknown_runs = (scope, balance.unknown_runs, runs)
    return known[2]


def new_id(core: Core) -> str:
    with core.ports.ledger.transaction() as tx:
        return new_id_in(core, tx)


def new_id_in(core: Core, tx: Transaction) -> str:
    """An id that no run has; it is reserved only when its run is written."""
    while True:
        fresh = f"r-{core.ports.ids.short(6)}"
        if tx.get(Run, fresh) is None:
            return fresh


def run_of(core: Core, resolution: Resolution, run_id: str, snapshot: SnapshotTaken | None) -> Run:
    """Return the run to be queued."""
    workspace: dict[str, object] = {"kind": "none"}
    if snapshot is not None:
        workspace = {
            "kind": "git",
            "repo": snapshot.repo,
            "base": snapshot.base,
            "snapshot": snapshot.snapshot,
            "object_format": snapshot.object_format,
            "folder": resolution.request.folder,
        }
    return resolution.run(run_id, core.wall_ms(), core.ports.ids.token(8), workspace)


def put_in_queue(work: Work, run: Run, judged: JudgedDispatch, budget: Decimal | None = None) -> Run:
    """Record what was decided about the run and admit it, inside a transaction; no order is made."""
    decided = judged.resolution
    for verdict in judged.verdicts:
        word = "warning" if verdict.warning else "passed" if verdict.passed else "asks a person"
        work.tell(run.id, "gate", verdict.gate, word, verdict.words)
    if chosen_by := ModelChoice.of(run).model_from:
        work.tell(run.id, "model", run.asked_model or "", "chosen", chosen_by)
    if decided.record:
        work.tell(run.id, "records", run.agent, "looked up", decided.record)
    if notes := Provision.of(run).notes:
        work.tell(run.id, "prompt", "history", "given", f"notes of {', '.join(notes)}")
    if skills := Provision.of(run).skills:
        work.tell(run.id, "skills", run.agent, "given", ", ".join(one["name"] for one in skills))
    for words in decided.skills.left_out:
        work.tell(run.id, "skills", run.agent, "left out", words)
    if decided.project_says:
        work.tell(run.id, "settings", "project", "applied", decided.project_says)
    if decided.left_out:
        work.tell(run.id, "prompt", "fitted", "left out", "; ".join(decided.left_out))
    run = joined(work, run)
    if decided.expected:
        work.tell(run.id, "estimate", f"${run.estimate_usd:f}", "expected", decided.expected)
    return admit(work, run, budget)
