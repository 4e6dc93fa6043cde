"""Makes the plan of a dispatch: consults track records, resolves the request, and runs the gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from node_agent.policy.rulefile import RuleError, merge_rules
from pancode.agents.default_worker import DefaultWorker, find_workers
from pancode.agents.endpoints import costs_nothing
from pancode.agents.model_profiles import Needs, untested_error
from pancode.budget import books, track_record_rules
from pancode.budget.track_record_rules import EXPLORE, ExpectedWork, TrackRecord, WorkKey, choose_name
from pancode.kernel.errors import ConfigError, PancodeError
from pancode.kernel.node import NodeView
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Balance, BookEntry, EndedRun, Setting
from pancode.runs.admission.gates import CHANGING, first_refused, judge, refusal_error
from pancode.runs.admission.gates.permission import is_accepted
from pancode.runs.admission.plan import GateVerdict, Plan, asks_for, list_objections
from pancode.runs.admission.request_rules import as_allowed, as_task
from pancode.runs.admission.resolution import Unresolved, names_worker, resolve, with_other
from pancode.runs.core import Core
from pancode.runs.features import features_of
from pancode.runs.live import LOOKED_AT, RecentRuns
from pancode.runs.placement.candidates import filter_candidates, list_candidates, list_failures, list_unknowns
from pancode.runs.project_rules import find_project, moved_project_error
from pancode.runs.remaining_budget import find_least, find_payer, parent_of, scope_view
from pancode.runs.request import (
    NO_PARTS,
    AdmissionView,
    Catalogue,
    DispatchRequest,
    Parent,
    Project,
    PromptParts,
    outranked_for,
)
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Surroundings


def read_records(core: Core) -> Mapping[WorkKey, TrackRecord]:
    """Return the current track records; read once, then updated by each commit."""
    with core.lock:
        return read_recent(core).sums


def read_recent(core: Core) -> RecentRuns:
    with core.lock:
        known = core.live.recent
        if known is None:
            with core.ports.ledger.transaction() as tx:
                rows = tx.find(EndedRun, order="ended_ms", descending=True, limit=LOOKED_AT)
            known = core.live.recent = RecentRuns(reversed(rows))
        return known


class RecordsPicker:
    """Makes all track-record choices of one dispatch, with one reading of the records and one random draw."""

    def __init__(self, core: Core, repository: str | None, explore: float = EXPLORE) -> None:
        self._core, self._repository, self._explore = core, repository, explore
        self.records = cache(lambda: read_records(core))
        self._draw = cache(lambda: int(core.ports.ids.token(4), 16) / 2**32)

    def agent(self, names: Sequence[str], task: str) -> tuple[str, str]:
        found = track_record_rules.of_agents(self.records(), task, self._repository)
        return choose_name(names, found, self._draw(), self._explore)

    def model(self, agent: str, models: Sequence[str], task: str) -> tuple[str, str]:
        bare = {name: name.rpartition("/")[2] for name in models}
        found = track_record_rules.of_models(self.records(), agent, task, bare)
        return choose_name(models, found, self._draw(), self._explore)

    def expect(self, agent: str, runtime: str, model: str | None, task: str) -> ExpectedWork | None:
        return track_record_rules.estimate_work(self.records(), agent, runtime, model, task)

    def figure(self, agent: str, runtime: str, model: str | None, task: str) -> str:
        return track_record_rules.describe_worker(self.records(), agent, runtime, model, task)


def complete_request(
    core: Core, around: Surroundings, request: DispatchRequest, later: bool = False
) -> DispatchRequest:
    """Return the request as features complete it, with its repository and folder. `later`: the run begins
    later. NotFoundError for an unknown project."""
    for hook in features_of(core).complete:
        if hook.concerns(request):
            request = hook.act(core, around, request, later)
    request, wants_files = as_allowed(request), request.workspace != "none"
    if request.of_project and request.project is None:
        request = replace(request, cwd=find_project(around.projects(), request.of_project).path)
    if request.project is None and request.cwd is not None and wants_files:
        request = replace(request, project=around.project_of(request.cwd))
    if request.of_project and request.project is None and wants_files:
        raise moved_project_error(request.of_project, request.cwd or "")
    if request.project is not None and request.cwd is not None:
        request = replace(request, folder=around.below(request.cwd, request.project))
    return request


def prepare_plan(
    core: Core, around: Surroundings, request: DispatchRequest, parent: str | None = None, later: bool = False
) -> Callable[[], Plan]:
    """Return a function that makes the plan; each call resolves the request and runs all gates again.

    Facts that are read only once are read here, before any lock is taken. `parent` None: the request names
    the parent itself, as a step of a run's own workflow does.
    """
    parent, request = parent or request.parent, complete_request(core, around, request, later)
    paths = around.paths(as_task(request).task, request.cwd, request.project)
    project, top = around.project(request.project), request.project
    if top is not None and request.workspace != "none":
        project = replace(project, copied=around.seal_copied(top))
    read_recent(core)
    picker = RecordsPicker(core, request.project, around.defaults(request.project).explore)

    @cache
    def parts(skills: tuple[str, ...]) -> PromptParts:
        hooks = [hook for hook in features_of(core).prompt_parts if hook.concerns(request)]
        return sum((hook.act(core, around, request, skills) for hook in hooks), NO_PARTS)

    def make() -> Plan:
        above = None if parent is None else parent_of(core, parent)
        completed = _as_child(request, above)
        session = find_payer(core, completed, above)
        # The run may cost at most what is left of its parent's budget, and of the session that pays for it.
        completed = replace(
            completed, most_usd=find_least(completed.most_usd, None if session is None else session.left)
        )
        built = _build_catalogue(core, around, top, project, picker, parts)
        unread = () if top is None else around.list_unread(top, request.folder)
        built = replace(built, defaults=replace(built.defaults, misnamed=(*built.defaults.misnamed, *unread)))
        catalogue = _add_parent_rules(built, above)
        ended = core.live.ended(core.wall_ms(), core.rules.retry_pause_ms)
        depth = around.max_depth()
        view = AdmissionView((), session, depth, paths=paths, parent=above, ended=ended)
        return _plan_with_worker(core, completed, catalogue, view)

    return make


def _build_catalogue(
    core: Core,
    around: Surroundings,
    top: str | None,
    project: Project,
    picker: RecordsPicker,
    parts: Callable[[tuple[str, ...]], PromptParts],
) -> Catalogue:
    """Return the currently available agents, models and nodes."""
    return Catalogue(
        agents=around.agents(top),
        nodes=_list_nodes(core),
        defaults=around.defaults(top),
        project=project,
        rules=around.rules(top),
        vendors=core.lists,
        pick=picker.agent,
        pick_model=picker.model,
        parts=parts,
        expect=picker.expect,
        figure=picker.figure,
    )


def _list_nodes(core: Core) -> tuple[NodeView, ...]:
    with core.ports.ledger.transaction() as tx:
        return tuple(core.views(tx))


def _plan_with_worker(
    core: Core, request: DispatchRequest, catalogue: Catalogue, view: AdmissionView
) -> Plan:
    """Return the plan with the named worker (runtime and model). If none is named, use the first that is
    ready, else the first that could do it later."""
    later: Plan | None = None
    if not names_worker(request, catalogue):
        for worker in find_workers(request.node, catalogue.nodes, catalogue.defaults.tiers):
            try:
                plan = _judge_plan(core, request, catalogue, view, worker)
            except PancodeError:
                continue  # This worker supports no turns, or lacks a requested option.
            admitted = first_refused(plan.verdicts, request.ask) is None and not plan.untested
            if admitted and any(one.ready for one in plan.candidates):
                return plan
            later = later or plan
    return later or _judge_plan(core, request, catalogue, view, DefaultWorker())


def _judge_plan(
    core: Core, request: DispatchRequest, catalogue: Catalogue, view: AdmissionView, worker: DefaultWorker
) -> Plan:
    """Return the judged plan with that worker; if `worker` is empty, with what the request, agent or settings
    name."""
    runtime, model = worker.runtime or request.runtime, worker.model or request.model
    plan = resolve(replace(request, runtime=runtime, model=model), catalogue)
    if isinstance(plan, Unresolved):
        raise plan.error.because(*outranked_for(request, catalogue.defaults))
    if worker.text:  # Keep the request itself unchanged.
        nobody = f"with {worker.text}, as no model was named"
        named = replace(plan.request, runtime=request.runtime, model=request.model)
        chosen = "; ".join(filter(None, (plan.chosen, nobody)))
        plan = replace(plan, request=named, chosen=chosen, model_from=nobody if worker.model else "")
    view = _with_money(core, plan, view)
    plan = _sift_nodes(plan, catalogue.nodes)
    verdicts = judge(plan, view)
    if first_refused(verdicts) is None:
        plan = with_other(plan, catalogue, lambda one: first_refused(judge(one, view)) is None)
    plan = _with_verdicts(replace(plan, outranked=_list_outranked(plan, catalogue)), verdicts)
    # The queued request records that unenforced rules were accepted; the original request only permits it.
    return replace(plan, request=replace(plan.request, told_only=is_accepted(plan, view.parent)))


def _with_verdicts(plan: Plan, verdicts: tuple[GateVerdict, ...]) -> Plan:
    plan = replace(plan, verdicts=verdicts)
    if not plan.request.ask:
        return plan
    return replace(plan, approval=asks_for(verdicts), objections=list_objections(verdicts))


def _list_outranked(plan: Plan, catalogue: Catalogue) -> tuple[str, ...]:
    """Return warnings about overridden variables; none for a user's command, or if the agent sets them."""
    agent, request = plan.agent, plan.request
    request = replace(
        request, model=request.model or agent.model, reasoning=request.reasoning or agent.reasoning
    )
    return () if plan.runtime.own else outranked_for(request, catalogue.defaults)


def _sift_nodes(plan: Plan, nodes: Sequence[NodeView]) -> Plan:
    """Return the plan with the nodes where the model passed its test, servers to test and unknown facts."""
    wanted = plan.wanted
    if wanted is None:
        return plan
    if plan.request.untested:
        counts = f"the model {wanted.model} is used without a test, as requested (--untested)"
        return replace(plan, remarks=(counts,))
    needs = Needs(wanted.endpoint, wanted.model)
    shown, places = filter_candidates(plan.candidates, nodes, needs)
    words, able = list_failures(plan.candidates, nodes, needs), any(one.fits for one in shown)
    if words and not able and plan.request.model and (plan.agent.read_only or plan.request.turns):
        # For a chat or a read-only agent, only a failed test excludes the model that the user named.
        if plan.request.confirmed:
            remarks = tuple(f"{one}; it is used anyway, as requested (--yes)" for one in words)
            return replace(plan, request=replace(plan.request, untested=True), remarks=remarks)
        shown = tuple(
            replace(one, fix=f"{one.fix}; or use it anyway: --yes" if one.fix else "") for one in shown
        )
    costly = any(not costs_nothing(nodes, one.endpoint, one.model) for one in places)
    remarks = list_unknowns(shown, nodes, needs)
    return replace(plan, candidates=shown, untested=places, costly=costly, remarks=remarks)


def _add_parent_rules(catalogue: Catalogue, above: Parent | None) -> Catalogue:
    """Return the catalog with the parent run's rules added. A run may edit the rules in its own checkout, so
    its current rules also apply to its children."""
    if above is None:
        return catalogue
    try:
        return replace(catalogue, rules=merge_rules(catalogue.rules, above.rules))
    except RuleError as wrong:
        raise ConfigError(
            f"{wrong}, including those of run {above.run}", why=wrong.why, fix=wrong.fix
        ) from wrong


def _as_child(request: DispatchRequest, above: Parent | None) -> DispatchRequest:
    """Return the request as a child of the requesting run; a depth given by the caller can only raise it."""
    if above is None:
        return request
    depth = max(request.depth, above.depth + 1)
    request = replace(request, charged_to=above.session or request.charged_to)
    sandboxed = request.walled or above.walled  # Without approval, the child keeps its own sandbox.
    request = replace(request, confined=request.confined | above.confined)
    return replace(request, depth=depth, parent=above.run, most_usd=above.usd_left, walled=sandboxed)


def _with_money(core: Core, plan: Plan, view: AdmissionView) -> AdmissionView:
    """Return the view completed by the run's budget scopes, and by whether the fleet accepts work."""
    scopes = [books.day_scope(core.wall_ms(), core.tz), books.agent_scope(plan.agent.name)]
    scopes += [books.repo_scope(plan.project)] if plan.project is not None else []
    with core.ports.ledger.transaction() as tx:
        draining = tx.get(Setting, "draining")
        budget_scopes = [*core.read_scopes(tx, scopes), *core.period_budget_scopes(tx)]
        return replace(
            view,
            scopes=tuple(scope_view(tx, budget_scope, plan.due) for budget_scope in budget_scopes),
            unknown=_unknown_today(core, tx, budget_scopes[0].balance.scope),
            draining=str(draining.value) if draining is not None else None,
        )


def _unknown_today(core: Core, tx: Transaction, scope: str) -> tuple[str, ...]:
    """Return the day's runs of unknown cost in the scope; entries are read again only if these changed."""
    balance = tx.get(Balance, scope)
    if balance is None or not balance.unknown_runs:
        return ()
    known = core.live.unknown_runs
    if known is None or known[:2] != (scope, balance.unknown_runs):
        runs = books.unknown_runs(tx.find(BookEntry, {"scope": scope}, order=None))
        known = core.live.unknown_runs = (scope, balance.unknown_runs, runs)
    return known[2]


def judge_again(core: Core, plan: Plan) -> Plan:
    """Run those gates again whose facts change without the user; raise the first refusal."""
    request = plan.request
    above = None if request.parent is None else parent_of(core, request.parent)
    session, nodes = find_payer(core, request, above), _list_nodes(core)
    left = find_least(None if above is None else above.usd_left, None if session is None else session.left)
    found = list_candidates(nodes, replace(plan.needs, repo=request.repo))
    now = _sift_nodes(replace(plan.within(left), candidates=found), nodes)
    view = _with_money(core, now, AdmissionView((), session, parent=above))
    again = {one.gate: one for one in judge(now, view, CHANGING)}
    verdicts = tuple(again.get(one.gate, one) for one in plan.verdicts)
    return must_pass(core, _with_verdicts(replace(now, remarks=plan.remarks), verdicts))


def must_pass(core: Core, plan: Plan) -> Plan:
    """Return the plan if all gates let it pass; else record and raise the first refusal."""
    verdict, request = first_refused(plan.verdicts, plan.request.ask), plan.request
    if verdict is not None:
        refusal = {"gate": verdict.gate, "words": verdict.words, "by": request.created_by}
        with unit_of_work(core) as work:
            work.audit("dispatch", "error", "refused", None, **refusal)
        raise refusal_error(verdict, request.takes_ask).because(*plan.outranked)
    if plan.untested:
        raise untested_error(plan.untested[0], plan.costly)
    return plan
