"""Assigns waiting runs to nodes, and explains why other runs wait."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from node_agent.wire.policy import Isolation
from pancode.agents.endpoints import RANKED, EndpointNeed, costs_there, lack_of, rank_node
from pancode.agents.model_profiles import Needs, Trust, Trusted, describe_failure, trust_of
from pancode.agents.runtimes import RUNTIMES, EnforcedRule, EnforcementRequest, find_rule
from pancode.budget import books
from pancode.budget.books import Amount, Ceilings
from pancode.budget.track_record_rules import TrackRecord, WorkerKind, poor_of
from pancode.kernel.node import SILENT, NodeState, NodeView, has_label, in_a_sentence, with_words
from pancode.kernel.records import Balance, Run, WaitReason
from pancode.kernel.values import replace
from pancode.runs.facts import ModelChoice, Provision
from pancode.runs.life.case import why_it_stays
from pancode.runs.placement.candidates import (
    BARE_HERE,
    LOOKING,
    WITHOUT_SANDBOX,
    GpuSeen,
    choose_gpus,
    is_bare_here,
    is_looking,
    lack_of_gpus,
    need_of_run,
    why_gpus_wait,
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A run that is assigned to a node, with the reason as text."""

    run: Run
    node: NodeView
    why: str
    gpus: tuple[str, ...] = ()
    """The UUIDs of the GPUs that the run reserves there."""
    busy: str = ""
    """Why no slot is free, for a run that is handed over to wait on the node; empty: one is free."""
    most_usd: Decimal | None = None
    """The most USD that a run that waits on the node may cost; None: its usual limit."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A run that stays in the queue, with the reason as text."""

    run: Run
    why: str
    kind: WaitReason


@dataclass(frozen=True, slots=True)
class Shun:
    """The reason why a node gets no work, the fix, and the end of this, by the coordinator's boot clock."""

    why: str
    fix: str
    until_ms: int
    of_task: bool = False
    """Whether the run is the cause, and not the node: it needs something that does not exist, such as a
    gate's program."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of the fleet on which placement is based."""

    nodes: tuple[NodeView, ...]
    free: Mapping[str, int]
    """Free slots by node name, counted by the coordinator."""
    hurry: str = ""
    """Why nodes with a variable number of slots open no more slots; empty: they may open some."""
    paused: str | None = None
    """Why the whole fleet is paused; None: it is not."""
    paused_queues: Mapping[str, str] | None = None
    resting: Mapping[str, Shun] = field(default_factory=dict)
    """The nodes that accept no run now, and why, by node."""
    shunned: Mapping[str, Mapping[str, Shun]] = field(default_factory=dict)
    """Reason why a node does not accept a run, by run and node."""
    room: Mapping[str, tuple[Balance, Ceilings]] = field(default_factory=dict)
    """The balance and the ceilings of each node that has its own ceilings, by node."""
    records: Mapping[WorkerKind, Mapping[str, TrackRecord]] = field(default_factory=dict)
    """By kind and node: the node's track record for a kind of work (agent, runtime and kind of task)."""
    due: Mapping[str, Decimal] = field(default_factory=dict)
    """The USD that a run will reserve on its node, by run, if that is not its estimate."""
    ahead: Mapping[str, int] = field(default_factory=dict)
    """How many more jobs a node may queue until a slot is free, by node."""
    gpus: Mapping[str, tuple[GpuSeen, ...]] = field(default_factory=dict)
    """The GPUs of each node that has any, by node."""
    lines: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """How many jobs already wait on a node, and how many slots it has, by node."""
    staying: Mapping[str, str] = field(default_factory=dict)
    """Reason why the runs of a workflow may not be handed over, by workflow."""
    most_usd: Callable[[Run], tuple[Decimal | None, str]] = lambda run: (None, "")
    """Returns the USD that a run reserves if it is handed over (None: as now), and why no ceiling has room
    for that."""

    @property
    def has_room(self) -> bool:
        """Whether any slot of any node is free, or a job may wait for one there."""
        return _has_free(self.free) or _has_free(self.ahead)

    def holds(self, run: Run, handed_usd: Decimal | None = None) -> Amount:
        """Return the amount that the run will reserve. `handed_usd`: USD if handed over; None: as now."""
        due = books.estimate_of(run)
        usd = self.due.get(run.id, due.usd) if handed_usd is None else handed_usd
        return replace(due, usd=usd)


def pool_of(run: Run) -> str:
    """Return the name of the run's pool: a pinned node, labels, or any node."""
    if run.node is not None:
        return f"node.{run.node}"
    if run.require:
        return "+".join(f"{k}={v}" for k, v in sorted(run.require.items()))
    return "any"


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Return the runs in the order of placement: higher priority first, then age, then id."""
    return sorted(runs, key=lambda r: (-r.priority, r.created_ms, r.id))


def decide_placements(
    runs: Iterable[Run], standing: Standing, whole: bool = True
) -> Iterator[Placed | Unplaced]:
    """Decide about the runs in order; each run is fetched only after the decision on the previous one.
    `whole` False: stop when no slot is free any more; the decisions up to then are the same."""
    free, room, claimed = dict(standing.free), dict(standing.ahead), dict[str, Amount]()
    taken = dict[str, str]()
    """The runs that get a GPU in this pass, by GPU."""
    in_vain: dict[object, tuple[str, WaitReason]] = {}
    """Why a run waits, by its requirements. As slots only become fewer in a pass, this applies to all runs
    with the same requirements."""
    first: dict[str, tuple[int, str]] = {}
    """By node: the priority and the id of a run that needs the next slot and cannot wait on the node."""
    for run in runs:
        if not whole and not _has_free(free) and not _has_free(room):
            break
        # The following are all facts that decide where the run may go.
        shunned = tuple((name, shun.why) for name, shun in standing.shunned.get(run.id, {}).items())
        wish = (wish_of(run), shunned, standing.holds(run) if standing.room else None)
        why = in_vain.get(wish)
        decision = _place(run, standing, free, claimed, taken) if why is None else Unplaced(run, *why)
        if why is None and isinstance(decision, Unplaced) and decision.kind is WaitReason.NO_SLOT:
            decision = _handed_over(decision, standing, room, claimed, first)
        if isinstance(decision, Placed):
            name, ahead = decision.node.node.name, bool(decision.busy)
            (room if ahead else free)[name] -= 1
            taken.update(dict.fromkeys(decision.gpus, run.id))
            claimed[name] = claimed.get(name, Amount()) + standing.holds(run, decision.most_usd)
        else:
            in_vain[wish] = decision.why, decision.kind
        yield decision


def _has_free(free: Mapping[str, int]) -> bool:
    return any(slots > 0 for slots in free.values())


def wish_of(run: Run) -> object:
    """Return all facts of the run that decide where it may go, as a comparable value."""
    where = (run.node, run.runtime, run.workspace.get("kind"), run.workspace.get("repo"))
    how = (
        run.mode,
        run.safety,
        run.read_only,
        run.told_only,
        run.depth,
        run.parent is None,
        needs_sandbox(run),
        Provision.of(run).confined,
    )
    choice = ModelChoice.of(run)
    model = (wanted_of(run), run.untested, choice.free, choice.trusted)
    stays = (why_it_stays(run), run.workflow)
    return where, how, model, stays, need_of_run(run), *sorted(run.require.items())


def can_be_had(view: NodeView) -> bool:
    """Whether the node is in service, even if it is busy; an unavailable node may never come back."""
    return view.last is not None and view.state is NodeState.ONLINE and view.node.paused is None


def explain_misfit(run: Run, view: NodeView) -> str:
    """Return why the node, in its current state, cannot take this run; empty if it can."""
    node = view.node
    if run.node is not None and run.node != node.name:
        return "not the pinned node"
    for key, value in run.require.items():
        if not has_label(view, key, value):
            return f"has no label {key}={value}"
    if node.removed is not None:
        return node.removed
    if view.last is not None and not _has_runtime(run, view):
        facts = view.last.heartbeat.facts
        if is_looking(facts, run.runtime):
            return f"{LOOKING} {run.runtime}"
        state = next((one.state for one in facts.runtimes if one.name == run.runtime), "missing")
        if state == "missing":
            return f"has no runtime {run.runtime}"
        return f"has runtime {run.runtime}, which is {state.replace('_', ' ')}: pancode node show {node.name}"
    need = need_of_run(run)
    if need is not None and view.last is not None:
        why, _ = lack_of_gpus(view.last.heartbeat.facts, node, need)
        if why:
            return why
    for judge in (
        _explain_turnless,
        _explain_limit,
        _explain_unheld,
        _explain_endpoint,
        _explain_unpaid,
        _explain_untrusted,
    ):
        if why := judge(run, view):
            return why
    return ""


def _explain_limit(run: Run, view: NodeView) -> str:
    """Return the owner's rule on the node that forbids the run; empty: none. Repositories require git."""
    if view.last is None:
        return ""
    repo = run.workspace.get("repo")
    allows = view.last.heartbeat.facts.allows
    beyond = allows.beyond(run.safety, run.runtime, str(repo) if repo is not None else None)
    return f"may not take it: {beyond}" if beyond else ""


def _explain_endpoint(run: Run, view: NodeView) -> str:
    """Return why the node's endpoint does not fit the run, with the fix; empty: it fits."""
    wanted = wanted_of(run)
    if wanted is None or view.last is None:
        return ""
    lack = lack_of(view.last.heartbeat.facts, wanted, view.node.name)
    return "" if lack is None else f"{lack.why}{f' ({lack.fix})' if lack.fix else ''}"


def _explain_unpaid(run: Run, view: NodeView) -> str:
    """Return why a run admitted as free, so without a reservation, cannot use the endpoint; empty: it can."""
    wanted = wanted_of(run)
    if wanted is None or view.last is None or not ModelChoice.of(run).free:
        return ""
    if not costs_there(view.last.heartbeat.facts, wanted):
        return ""
    return (
        f"charges for {wanted.model} at its {wanted.endpoint}, but nothing is reserved for this run: it was "
        f"dispatched as free (dispatch again with --node {view.node.name})"
    )


def _explain_untrusted(run: Run, view: NodeView) -> str:
    """Return why the model is not trusted on the node: its test failed, or had not been done at admission. A
    result that was lost since then, for example because a server reloaded the model, does not delay a run."""
    result, trusted = _find_test(run, view), ModelChoice.of(run).trusted
    if result is None or result.trust is Trust.GOOD:
        return ""
    if result.trust is Trust.FAILED:
        return describe_failure(run.model or "", result)
    if trusted is None or view.node.name in trusted:
        return ""
    place = f"{view.node.name}/{run.endpoint}/{run.model}"
    return f"has not tested {run.model} yet (pancode models test {shlex.quote(place)})"


def _find_test(run: Run, view: NodeView) -> Trusted | None:
    """Return the model's test result on the node; None if no test is needed."""
    if run.endpoint is None or run.model is None or run.untested:
        return None
    return trust_of(view, Needs(run.endpoint, run.model))


def wanted_of(run: Run) -> EndpointNeed | None:
    """Return what the run needs from an endpoint; None: its model is not at an endpoint of the fleet."""
    if run.endpoint is None or run.model is None:
        return None
    return EndpointNeed(run.endpoint, run.model, run.runtime, run.context or 0)


def _explain_unfit(run: Run, view: NodeView, standing: Standing) -> str:
    """Return why the node cannot take the run or has refused it; empty: neither. See `explain_misfit`."""
    shun = standing.shunned.get(run.id, {}).get(view.node.name)
    return explain_misfit(run, view) or (f"could not take it: {shun.why}" if shun is not None else "")


def _list_refusals(run: Run, standing: Standing) -> list[str]:
    """Return the nodes that would fit but have refused the run, each with its reason, as texts."""
    by = standing.shunned.get(run.id, {})
    away = [v for v in standing.nodes if v.node.name in by and not explain_misfit(run, v)]
    return [f"{v.node.name} {_explain_unfit(run, v, standing)}" for v in away]


def _explain_unheld(run: Run, view: NodeView) -> str:
    """Return why the node cannot enforce the run's rules; empty: it can, or need not."""
    if view.last is None or run.runtime not in RUNTIMES:
        return ""
    if needs_sandbox(run) and view.last.heartbeat.facts.isolation is not Isolation.SANDBOX:
        return WITHOUT_SANDBOX
    if is_bare_here(view, Provision.of(run).confined):
        return BARE_HERE
    needs = needs_of(run)
    if needs.enough(view.last.heartbeat.facts.isolation):
        return ""
    return f"has no sandbox, and nothing else there enforces {needs.rule} on {run.runtime}"


def needs_sandbox(run: Run) -> bool:
    """Whether the run needs a node with a sandbox, as its agent or the run that started it requires one."""
    return Provision.of(run).walled


def needs_of(run: Run) -> EnforcedRule:
    """Return the rule to enforce for a queued run; a child's own record says if it need not be enforced."""
    kind, may_allow = str(run.workspace.get("kind", "none")), run.parent is None or run.told_only
    request = EnforcementRequest(
        run.mode, run.safety, run.read_only, run.told_only, kind, run.depth, may_allow, needs_sandbox(run)
    )
    return find_rule(RUNTIMES[run.runtime], request)


def _explain_turnless(run: Run, view: NodeView) -> str:
    """Return why the runtime on the node does not support turns, if the run needs them; empty: no problem."""
    if view.last is None or not run.takes_turns:
        return ""
    facts = view.last.heartbeat.facts.runtimes
    lacks = next((one.no_turns for one in facts if one.name == run.runtime), "")
    return f"does not support chats with {run.runtime}: {lacks}" if lacks else ""


def is_unheld(run: Run) -> bool:
    """Whether the run's rules may be unenforced: by an option, or in a user's command below full-auto."""
    kind = RUNTIMES[run.runtime]
    return run.told_only or (kind.own and needs_of(run).enough(Isolation.NONE))


def _has_runtime(run: Run, view: NodeView) -> bool:
    if view.last is None:
        return False
    states = ("ok",) if run.endpoint is None else ("ok", "not_logged_in")
    return any(r.name == run.runtime and r.state in states for r in view.last.heartbeat.facts.runtimes)


def _place(
    run: Run,
    standing: Standing,
    free: Mapping[str, int],
    claimed: Mapping[str, Amount],
    taken: Mapping[str, str],
) -> Placed | Unplaced:
    if paused := _explain_pause(run, standing):
        return Unplaced(run, paused, WaitReason.PAUSED)
    need = need_of_run(run)
    fitting = _select_fitting(run, standing)
    if not fitting:
        return Unplaced(run, _explain_no_node(run, standing), WaitReason.NO_NODE)
    gpus = _gpus_at(run, fitting, standing, taken)
    if need is not None and not any(gpus.values()):
        seen = {name: standing.gpus.get(name, ()) for name in gpus}
        return Unplaced(run, why_gpus_wait(need, seen, taken), WaitReason.NO_GPU)
    fitting = [v for v in fitting if gpus[v.node.name] or need is None]
    ready = [v for v in fitting if _can_take(v, standing, free)]
    if not ready:
        reasons = [_explain_rest(v, standing) or _not_now(v, free, standing.hurry) for v in fitting[:3]]
        waits = _kept_by(fitting, standing)
        if run.takes_turns and waits is WaitReason.NODE_AWAY:
            reasons.append("your message is delivered when the node is heard again")
        return Unplaced(run, "; ".join([*reasons, *_list_refusals(run, standing)[:3]]), waits)
    short = {v.node.name: _explain_no_room(run, v.node.name, standing, claimed) for v in ready}
    ready = [v for v in ready if not short[v.node.name]]
    if not ready:
        return Unplaced(run, "; ".join(list(short.values())[:3]), WaitReason.BUDGET)
    poor = {} if len(ready) < 2 else poor_of(run, [v.node.name for v in ready], standing.records)
    places = {v.node.name: _rank(run, v, v.node.name in poor, free[v.node.name]) for v in ready}
    best = min(ready, key=lambda v: (places[v.node.name], v.node.name))
    words = [numbers for name, numbers in poor.items() if name != best.node.name]
    has = [f"{what}, worth a slot" for what in _list_kept(run, best)] if len(ready) > 1 else []
    has += ["it has the run's session"] if run.resumes_on == best.node.name else []
    slots = f" ({free[best.node.name]})" if len(ready) > 1 and run.node is None else ""
    because = _explain_choice(run, len(ready)) + slots + _with_model(run, best)
    held = gpus[best.node.name]
    has += [f"holds {', '.join(held)}"] if held else []
    return Placed(run, best, "; ".join([because, *has, *words]), held)


def _gpus_at(
    run: Run, views: Sequence[NodeView], standing: Standing, taken: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Return the GPUs that the run would get now, by node; empty if it needs none, or too few are free."""
    need = need_of_run(run)
    names = [view.node.name for view in views]
    return {
        name: () if need is None else choose_gpus(need, standing.gpus.get(name, ()), taken) for name in names
    }


def _handed_over(
    waits: Unplaced,
    standing: Standing,
    room: Mapping[str, int],
    claimed: Mapping[str, Amount],
    first: dict[str, tuple[int, str]],
) -> Placed | Unplaced:
    """Hand the run over to the node with the fewest waiting jobs per slot. If the run may not be handed over,
    its reason is extended, and no run of lower priority is handed over before it."""
    run = waits.run
    if not _has_free(room):
        return waits
    stays, usd = stays_here(run, standing), None
    gives_way = run.priority + bool(stays)
    if not stays:
        usd, stays = standing.most_usd(run)
    if stays:
        for name in needs_slot_at(run, standing):
            if first.get(name, (gives_way - 1, ""))[0] < gives_way:
                first[name] = gives_way, run.id
        return Unplaced(run, f"{waits.why}; it is not handed over: {stays}", waits.kind)
    able = [view for view in _select_fitting(run, standing) if _can_take(view, standing, room)]
    able = [view for view in able if not _explain_no_room(run, view.node.name, standing, claimed, usd)]
    before = [first[view.node.name][1] for view in able if _is_behind(run, view, first)]
    able = [view for view in able if not _is_behind(run, view, first)]
    if not able and before:
        words = f"run {before[0]} comes first, and cannot wait on the node"
        return Unplaced(run, f"{waits.why}; it is not handed over: {words}", waits.kind)
    if not able:
        return waits

    def line(view: NodeView) -> tuple[bool, float, str]:
        name = view.node.name
        waiting, slots = standing.lines[name]
        away = run.resumes_on not in (None, name)
        return away, (waiting + standing.ahead[name] - room[name]) / slots, name

    best = min(able, key=line)
    of = (
        f"of {len(able)} nodes that can take it, this one has the shortest queue"
        if len(able) > 1
        else "it begins in order on the node"
    )
    return Placed(run, best, f"{of}; {waits.why}", busy=waits.why, most_usd=usd)


def _is_behind(run: Run, view: NodeView, first: Mapping[str, tuple[int, str]]) -> bool:
    return run.priority < first.get(view.node.name, (run.priority, ""))[0]


def stays_here(run: Run, standing: Standing) -> str:
    """Return why the run must never wait on a node; empty: it may, if the budget permits."""
    return why_it_stays(run) or standing.staying.get(run.workflow or "", "")


def _select_fitting(run: Run, standing: Standing) -> list[NodeView]:
    # If the model has passed its test on some nodes, use only these; else all fitting nodes.
    fitting = [v for v in standing.nodes if not _explain_unfit(run, v, standing)]
    results = {view.node.name: _find_test(run, view) for view in fitting}
    good = [name for name, one in results.items() if one is not None and one.trust is Trust.GOOD]
    return [view for view in fitting if not good or view.node.name in good]


def _fitting_now(run: Run, standing: Standing) -> list[NodeView]:
    """Return the fitting nodes with enough free GPUs for the run."""
    fitting = _select_fitting(run, standing)
    gpus = _gpus_at(run, fitting, standing)
    return [view for view in fitting if need_of_run(run) is None or gpus[view.node.name]]


def lacks_slot_at(run: Run, standing: Standing) -> list[str]:
    """Return the nodes that would take the run now if they had one more free slot."""
    if _explain_pause(run, standing):
        return []
    fitting, full = _fitting_now(run, standing), {name: slots + 1 for name, slots in standing.free.items()}
    names = [view.node.name for view in fitting if _can_take(view, standing, full)]
    return [name for name in names if not _explain_no_room(run, name, standing, {})]


def needs_slot_at(run: Run, standing: Standing) -> list[str]:
    """Return the nodes that would take the run now if they had one more free slot and no waiting jobs."""
    free = {name: slots + standing.lines.get(name, (0, 1))[0] for name, slots in standing.free.items()}
    return lacks_slot_at(run, replace(standing, free=free))


def takes_now(run: Run, standing: Standing, free: Mapping[str, int]) -> list[str]:
    """Return the nodes that would take the run now with these free slots, those with most slots first."""
    if not _has_free(free) or _explain_pause(run, standing):
        return []
    able = [view for view in _fitting_now(run, standing) if _can_take(view, standing, free)]
    names = [view.node.name for view in able if not _explain_no_room(run, view.node.name, standing, {})]
    return sorted(names, key=lambda name: (-free[name], name))


def kept_back(run: Run, name: str, standing: Standing) -> str:
    """Return why a user or the node prevents the run from beginning there now; empty: nothing does."""
    view = next((view for view in standing.nodes if view.node.name == name), None)
    if view is None or view.node.removed is not None:
        return f"{name} is no longer in the fleet"
    node = view.node
    reasons = {"paused": node.paused, "draining": node.draining, "quarantined": node.quarantined}
    of_node = next((f"{name} is {word}: {why}" for word, why in reasons.items() if why is not None), "")
    if view.state is NodeState.HALTED:
        of_node = f"{name} is halted"
    return _explain_pause(run, standing) or of_node or _explain_rest(view, standing)


def _explain_pause(run: Run, standing: Standing) -> str:
    """Return why the whole fleet or the run's queue is paused; empty: neither is."""
    if standing.paused is not None:
        return f"the fleet is paused: {standing.paused}"
    paused = (standing.paused_queues or {}).get(pool_of(run))
    return f"queue {pool_of(run)} is paused: {paused}" if paused is not None else ""


def _kept_by(fitting: Sequence[NodeView], standing: Standing) -> WaitReason:
    """Return whether the run waits only for a slot, or for a node that must first accept work again."""
    at_work = any(view.answers and not _explain_rest(view, standing) for view in fitting)
    return WaitReason.NO_SLOT if at_work else WaitReason.NODE_AWAY


def _rank(run: Run, view: NodeView, is_poor: bool, free: int) -> tuple[bool, int, bool, int]:
    """Return the node's rank for the run; lowest is best. In order: it has the run's session, its model is
    loaded, its track record is good, it has most room. A copy of the repository and the
    results of its setup count as one free slot each, so that work still spreads over nodes."""
    elsewhere = run.resumes_on not in (None, view.node.name)
    return (elsewhere, _model_rank(run, view), is_poor, -(free + len(_list_kept(run, view))))


def _list_kept(run: Run, view: NodeView) -> list[str]:
    """Return, as texts, what the node stores for the run's repository."""
    repo, facts = run.workspace.get("repo"), view.last.heartbeat.facts if view.last is not None else None
    if repo is None or facts is None:
        return []
    made = ["it has the results of setup"] if repo in facts.set_ups else []
    return (["it already has the repository"] if repo in facts.repositories else []) + made


def _model_rank(run: Run, view: NodeView) -> int:
    """Return the node's rank by the run's model: nodes that have loaded it come first."""
    wanted = wanted_of(run)
    return 0 if wanted is None or view.last is None else rank_node(view.last.heartbeat.facts, wanted)


def _with_model(run: Run, view: NodeView) -> str:
    return f", {RANKED[_model_rank(run, view)]}" if run.endpoint is not None else ""


def _explain_no_room(
    run: Run, name: str, standing: Standing, claimed: Mapping[str, Amount], usd: Decimal | None = None
) -> str:
    """Return why the node's own ceiling has no room, counting this pass's runs; empty: it has room."""
    if name not in standing.room:
        return ""
    balance, ceilings = standing.room[name]
    due, more = standing.holds(run, usd), claimed.get(name, Amount())
    balance = replace(
        balance,
        reserved_usd=balance.reserved_usd + more.usd,
        reserved_tokens=balance.reserved_tokens + more.tokens,
        reserved_ms=balance.reserved_ms + more.ms,
    )
    if books.is_within_ceilings(balance, ceilings, due):
        return ""
    return f"{balance.scope}: {books.explain_refusal(balance, ceilings, due)}"


def _can_take(view: NodeView, standing: Standing, free: Mapping[str, int]) -> bool:
    return view.answers and free.get(view.node.name, 0) > 0 and not _explain_rest(view, standing)


def _explain_rest(view: NodeView, standing: Standing) -> str:
    """Return why the node accepts no work, by its report or after a recent refusal; empty: it does accept."""
    if not view.answers:
        return ""
    shut = view.last.heartbeat.facts.shut if view.last is not None else None
    shun = standing.resting.get(view.node.name)
    why, fix = (shut.what, shut.fix) if shut is not None else (shun.why, shun.fix) if shun else ("", "")
    words = with_words(in_a_sentence(why), in_a_sentence(fix))
    return f"{view.node.name} accepts no work: {words}" if why else ""


def _explain_choice(run: Run, ready: int) -> str:
    if run.node is not None:
        # The node can also be pinned by the model's name, from a setting, a preset or an agent.
        model = run.asked_model or ""
        if not model.startswith(f"{run.node}/"):
            return "pinned by --node"
        return f"pinned by its model {model} ({ModelChoice.of(run).model_from or '--model'})"
    wanted = ", ".join(f"{k}={v}" for k, v in sorted(run.require.items()))
    of = f"of {ready} nodes that can take it" if ready > 1 else "the only node that can take it now"
    return f"{of}{f' with {wanted}' if wanted else ''}, most free slots"


def _explain_no_node(run: Run, standing: Standing) -> str:
    nodes: Sequence[NodeView] = standing.nodes
    if not nodes:
        return "the fleet has no nodes"
    if run.node is not None and all(v.node.name != run.node for v in nodes):
        return f"node {run.node} is not in the fleet"
    meant = [v for v in nodes if run.node in (None, v.node.name)]
    return "; ".join(f"{v.node.name} {_explain_unfit(run, v, standing)}" for v in meant[:5])


def _not_now(view: NodeView, free: Mapping[str, int], hurry: str = "") -> str:
    name = view.node.name
    if view.node.quarantined is not None:
        return f"{name} is quarantined: {view.node.quarantined}"
    if view.node.paused is not None:
        return f"{name} is paused: {view.node.paused}"
    if view.node.draining is not None:
        return f"{name} is draining: {view.node.draining}"
    if view.state is NodeState.HALTED:
        return f"{name} is halted (pancode fleet up {name})"
    if view.state is not NodeState.ONLINE:
        return f"{name} is {view.state}{SILENT.get(view.state, '')}"
    if not view.answers:
        return f"{name} has not requested work yet"
    if free.get(name, 0) > 0:
        return f"{name} is free"
    gpus = view.last.heartbeat.ask if view.last is not None else None
    if hurry and view.node.least is not None:
        return f"{name} is busy, no free slot: it opens no more than {view.node.least} now, {hurry}"
    fewer = (
        f": it takes {gpus.slots} of {view.node.slots} now, {gpus.why}"
        if gpus is not None and gpus.why
        else ""
    )
    return f"{name} is busy, no free slot{fewer}"
