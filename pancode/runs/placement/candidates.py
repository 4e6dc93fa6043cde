"""Lists the nodes that could take a run, with their GPUs, and why other nodes could not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from node_agent.wire.endpoint import ModelFact
from node_agent.wire.node import NodeFacts, NodeProblem, ProblemCode
from node_agent.wire.policy import Isolation, Safety
from pancode.agents.endpoints import RANKED, EndpointNeed, Lack, lack_of, rank_node
from pancode.agents.model_profiles import (
    NOT_TESTED,
    ModelPlace,
    Needs,
    Trust,
    Trusted,
    describe_failure,
    fact_of,
    trust_of,
)
from pancode.agents.models import ModelRef
from pancode.agents.runtimes import RUNTIMES
from pancode.agents.tiers import RANK, ModelTier, Tiered, tier_of
from pancode.kernel.formatting import count_noun, format_bytes
from pancode.kernel.names import find_nearest
from pancode.kernel.node import SILENT, NodeState, NodeView, has_label, in_a_sentence, labels_of, with_words
from pancode.kernel.records import GpuHold, Node, Run
from pancode.kernel.states import GpuRule
from pancode.kernel.visitors import Confined
from pancode.runs.options import ALL_GPUS, NO_GPUS


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """The GPUs that a run requests. `count` None: all of its node, at least one. `memory`: bytes per GPU."""

    count: int | None
    memory: int = 0

    def fits(self, memories: Sequence[int]) -> bool:
        """Whether GPUs with these memory sizes are enough."""
        return len([one for one in memories if one >= self.memory]) >= (self.count or 1)

    @property
    def words(self) -> str:
        many = "GPU" if self.count in (None, 1) else f"{self.count} GPUs"
        return f"{many} of {self.memory / 1e9:.3g} GB" if self.memory else many


@dataclass(frozen=True, slots=True)
class GpuSeen:
    """A GPU of a node, as placement sees it. `holder`: the run that has reserved it; empty: none."""

    uuid: str
    memory: int
    holder: str = ""
    is_silent: bool = False
    """Whether the GPU's driver does not respond."""


def need_of(gpus: str | None, memory: int | None) -> GpuNeed | None:
    """Return the GPUs that these options request; None: no GPU exclusively."""
    if gpus == NO_GPUS or (gpus is None and memory is None):
        return None
    return GpuNeed(None if gpus == ALL_GPUS else int(gpus or 1), memory or 0)


def need_of_run(run: Run) -> GpuNeed | None:
    return need_of(run.gpus, run.gpu_memory)


def lack_of_gpus(facts: NodeFacts, node: Node, need: GpuNeed) -> tuple[str, str]:
    """Return why the node can never provide these GPUs, and the fix; both empty: it can."""
    there = [one for one in facts.gpus if one.vendor == "nvidia"]
    if not there:
        others = "an AMD GPU, which runs cannot use" if facts.gpus else "no GPU"
        return f"has {others}", "pancode node show " + node.name
    if node.gpus is GpuRule.NONE:
        return "does not offer its GPUs to runs", f"pancode node set {node.name} --gpus all"
    if need.fits([one.memory for one in there]):
        return "", ""
    largest = max(there, key=lambda one: one.memory)
    has = f"{count_noun(len(there), 'GPU')}, the largest {largest.name} of {format_bytes(largest.memory)}"
    return f"has no {need.words}: it has {has}", "request less with --gpus or --gpu-memory"


def closes_gpus(view: NodeView) -> bool:
    """Whether the node hides its GPUs from a run that requests none."""
    return (
        view.last is not None and bool(view.last.heartbeat.facts.gpus) and view.node.gpus is not GpuRule.ALL
    )


def gpus_seen(view: NodeView, holds: Iterable[GpuHold], ended: Collection[str]) -> tuple[GpuSeen, ...]:
    """Return the node's NVIDIA GPUs, each with the run that uses it, by reservation or by the node's last
    report. `ended`: attempts that have ended since that report."""
    if view.last is None:
        return ()
    heartbeat = view.last.heartbeat
    loads = {one.uuid: one for one in heartbeat.gpus}
    held = {uuid: hold.run for hold in holds if hold.node == view.node.name for uuid in hold.uuids}
    theirs = {
        one.uuid: one.holder.run
        for one in heartbeat.gpus
        if one.holder is not None and str(one.holder) not in ended
    }
    return tuple(
        GpuSeen(
            one.uuid,
            one.memory,
            held.get(one.uuid) or theirs.get(one.uuid, ""),
            one.uuid in loads and loads[one.uuid].unknown_since_ms is not None,
        )
        for one in heartbeat.facts.gpus
        if one.vendor == "nvidia"
    )


def choose_gpus(need: GpuNeed, gpus: Sequence[GpuSeen], taken: Collection[str] = ()) -> tuple[str, ...]:
    """Return the GPUs that the run would get now, the smallest that suffice; empty: too few are free."""
    fitting = sorted((one for one in gpus if one.memory >= need.memory), key=lambda one: one.memory)
    free = [one.uuid for one in fitting if not one.holder and not one.is_silent and one.uuid not in taken]
    many = len(gpus) if need.count is None else need.count
    return tuple(free[:many]) if len(free) >= many else ()


def why_gpus_wait(need: GpuNeed, gpus: Mapping[str, Sequence[GpuSeen]], taken: Mapping[str, str]) -> str:
    """Return, as text, which GPUs the run waits for on which nodes. `taken`: runs that get a GPU in this
    pass, by GPU."""
    parts = []
    for name, every in sorted(gpus.items())[:3]:
        seen = [one for one in every if one.memory >= need.memory]
        holders = sorted({one.holder or taken.get(one.uuid, "") for one in seen} - {""})
        silent = sum(one.is_silent for one in seen)
        words = [f"{name} has {len(seen)}", f"held by {', '.join(holders)}" if holders else ""]
        words += [f"{silent} with a driver that does not respond" if silent else ""]
        parts.append(", ".join(filter(None, words)))
    return f"waits for {'a ' if need.count in (None, 1) else ''}{need.words}: {'; '.join(parts)}"


WITHOUT_SANDBOX = (
    "has no sandbox, but its agent, or the run that started it, requires one (isolation: container)"
)

LOOKING = "is still checking whether it has runtime"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node as a candidate. `fits`: it may take the run, now or later; `ready`: it requests work."""

    name: str
    fits: bool
    ready: bool
    why: str
    fix: str = ""
    isolation: Isolation | None = None
    no_sandbox: NodeProblem | None = None
    """Why the node has no sandbox; None: no problem is known."""
    other: bool = False
    """Whether the node is excluded because the request names another one."""
    near: int = 0
    """How many requirements the node met before one failed: the fix of the node with most is shown."""
    unset: tuple[str, ...] = ()
    """The run's variables that have no value on the node; empty if the node does not report them."""


@dataclass(frozen=True, slots=True)
class NodeRequirements:
    """What a request requires of a node. `node`: the pinned node. `repo`: None before the snapshot."""

    node: str | None
    require: Mapping[str, str]
    runtime: str
    safety: Safety
    repo: str | None = None
    wanted: EndpointNeed | None = None
    """What the run needs from an endpoint; None: its model is not at an endpoint of the fleet."""
    sandboxed: bool = False
    """Whether the run may only be executed in a sandbox."""
    turns: bool = False
    """Whether the run's program must be able to wait for messages after an answer."""
    env: tuple[str, ...] = ()
    """The names of the node's environment variables that the run gets, as far as they have a value."""
    gpus: GpuNeed | None = None
    """The GPUs that the run reserves; None: it requests no GPU."""
    confined: Confined = Confined.NO
    """What the run may not do because of who requested it."""


def list_candidates(nodes: Sequence[NodeView], wish: NodeRequirements) -> tuple[Candidate, ...]:
    """Return every node as a candidate, sorted by name, with the reason why it fits or does not."""
    there = (view for view in nodes if view.node.removed is None)
    found = list[Candidate]()
    for view in sorted(there, key=lambda v: v.node.name):
        variables = None if view.last is None else view.last.heartbeat.facts.variables
        unset = () if variables is None else tuple(name for name in wish.env if name not in variables)
        found.append(replace(_judge(view, wish), unset=unset))
    return tuple(found)


def _make_label_misfit(view: NodeView, key: str, value: str) -> Candidate:
    """Return a node that lacks a required label as a candidate, with the most similar label that it has. If
    there is a similar one, the requested label may be a typo, so no fix suggests adding it to the node."""
    node, labels = view.node, labels_of(view)
    why, there = f"has no label {key}={value}", [f"{k}={v}" for k, v in sorted(labels.items())]
    own = labels.get(key)
    near = f"{key}={own}" if own is not None else find_nearest(f"{key}={value}", there)
    if near is None:
        fix = f"pancode node set {node.name} --label {key}={value}"
        if key.startswith("gpu") and value.isdigit():  # A number of GPUs, which a label does not give a node.
            fix = "use --gpus N to reserve GPUs; to see which nodes have some: pancode node ls"
        return Candidate(node.name, False, False, why, fix, near=1)
    return Candidate(node.name, False, False, f"{why} (it has {near})", f"--require {near}", near=2)


def _judge(view: NodeView, wish: NodeRequirements) -> Candidate:
    name = view.node.name
    if wish.node is not None and wish.node != name:
        return Candidate(name, False, False, "not the pinned node", other=True)
    for key, value in wish.require.items():
        if not has_label(view, key, value):
            return _make_label_misfit(view, key, value)
    if view.last is None:
        return Candidate(name, True, False, "has sent no heartbeat yet", "pancode fleet up " + name)
    facts = view.last.heartbeat.facts
    if wish.gpus is not None:
        why, fix = lack_of_gpus(facts, view.node, wish.gpus)
        if why:
            return Candidate(name, False, False, why, fix, facts.isolation, near=3)
    if is_bare_here(view, wish.confined):
        fix = f"as a user of that machine: pancode dispatch --node {name} --runtime {wish.runtime} ..."
        return Candidate(name, False, False, BARE_HERE, fix, facts.isolation, _no_sandbox(facts), near=3)
    if is_looking(facts, wish.runtime):
        return Candidate(
            name, True, False, f"{LOOKING} {wish.runtime}", "pancode agents runtimes", facts.isolation
        )
    for near, demand in enumerate(
        (_find_runtime_lack, _find_sandbox_lack, _find_limit_lack, _find_endpoint_lack), start=3
    ):
        lack = demand(facts, wish, name)
        if lack is not None:
            sandbox, come = (
                _no_sandbox(facts),
                near + (demand is _find_endpoint_lack and _has_endpoint(facts, wish)),
            )
            return Candidate(name, False, False, lack.why, lack.fix, facts.isolation, sandbox, near=come)
    waits, fix = _not_now(view)
    can = (
        "can take it" if wish.wanted is None else f"can take it, and {RANKED[rank_node(facts, wish.wanted)]}"
    )
    return Candidate(name, True, not waits, waits or can, fix, facts.isolation, _no_sandbox(facts))


BARE_HERE = (
    "is the coordinator's machine and would run it without a sandbox, which a token's request may not do"
)


def is_bare_here(view: NodeView, confined: int) -> bool:
    """Whether the node would give a run access to the coordinator's home that its sender may not have."""
    isolation = None if view.last is None else view.last.heartbeat.facts.isolation
    return bool(confined & Confined.BARE_HERE) and isolation in view.opens_home


def is_looking(facts: NodeFacts, runtime: str) -> bool:
    """Whether the node is still checking if it has that runtime, whose program has not responded yet."""
    return any(one.name == runtime and one.state == "looking" for one in facts.runtimes)


def _find_runtime_lack(facts: NodeFacts, wish: NodeRequirements, name: str) -> Lack | None:
    """Return what the node lacks for the runtime; None: nothing. A model at an endpoint requires no login."""
    fact = next((one for one in facts.runtimes if one.name == wish.runtime), None)
    if fact is None or fact.state == "missing":
        says = "" if fact is None else fact.fix
        kind = RUNTIMES.get(wish.runtime)
        comes = kind is not None and kind.installable
        fix = f"pancode node install {name} {wish.runtime}" if comes else "pancode agents runtimes"
        return Lack(with_words(f"has no runtime {wish.runtime}", says), fix)
    if fact.state == "ok" or (fact.state == "not_logged_in" and wish.wanted is not None):
        lacks = fact.no_turns if wish.turns else ""
        return (
            Lack(with_words(f"does not support chats with {wish.runtime}", lacks), "pancode agents runtimes")
            if lacks
            else None
        )
    words = {"not_logged_in": "is not logged in", "too_old": "is too old"}
    state = words.get(fact.state, "has an unknown version")
    login = f"pancode node login {name} {wish.runtime}"
    fix = login if login in fact.fix else "pancode agents runtimes"
    return Lack(with_words(f"runtime {wish.runtime} {state}", fact.fix), fix)


def _find_sandbox_lack(facts: NodeFacts, wish: NodeRequirements, name: str) -> Lack | None:
    if not wish.sandboxed or facts.isolation is Isolation.SANDBOX:
        return None
    missing = _no_sandbox(facts)
    return Lack(with_words(WITHOUT_SANDBOX, "" if missing is None else missing.fix), "pancode doctor --all")


def _find_limit_lack(facts: NodeFacts, wish: NodeRequirements, name: str) -> Lack | None:
    beyond = facts.allows.beyond(wish.safety, wish.runtime, wish.repo)
    fix = f"dispatch within its limits, or ask its owner to change ceiling.json on {name}"
    return Lack(f"may not take it: {beyond}", fix) if beyond else None


def _find_endpoint_lack(facts: NodeFacts, wish: NodeRequirements, name: str) -> Lack | None:
    return None if wish.wanted is None else lack_of(facts, wish.wanted, name)


def _has_endpoint(facts: NodeFacts, wish: NodeRequirements) -> bool:
    return any(wish.wanted is not None and one.name == wish.wanted.endpoint for one in facts.endpoints)


def _no_sandbox(facts: NodeFacts) -> NodeProblem | None:
    return next((one for one in facts.problems if one.code is ProblemCode.NO_SANDBOX), None)


def _not_now(view: NodeView) -> tuple[str, str]:
    """Return why a node that fits takes no work at the moment, and the fix; both empty if it accepts work."""
    name = view.node.name
    if view.node.quarantined is not None:
        return f"is quarantined: {view.node.quarantined}", f"pancode fleet resume {name}"
    if view.node.paused is not None:
        return f"is paused: {view.node.paused}", f"pancode fleet resume --queue {name}"
    if view.node.draining is not None:
        return f"is draining: {view.node.draining}", f"pancode fleet resume {name}"
    if view.state is not NodeState.ONLINE:
        return f"is {view.state}{SILENT.get(view.state, '')}", f"pancode fleet up {name}"
    if not view.answers:
        return "has not requested work yet", ""
    shut = view.last.heartbeat.facts.shut if view.last is not None else None
    if shut is None:
        return "", ""
    words = with_words(in_a_sentence(shut.what), in_a_sentence(shut.fix))
    return f"accepts no work: {words}", f"pancode node show {name}"


def tier_at(
    ref: ModelRef,
    found: Sequence[Candidate],
    views: Sequence[NodeView],
    needs: Needs,
    overrides: Mapping[str, ModelTier],
) -> Tiered:
    """Return the model's tier by facts of its servers: the lowest on any node that could take the run."""
    fitting = {one.name for one in found if one.fits}
    facts = [fact_of(needs.at(view.node.name), (view,)) for view in views if view.node.name in fitting]
    models = [fact[1] for fact in facts if fact is not None]
    tiers = [tier_of(ref, *_size_of(model), dict(overrides), served=True) for model in models]
    nothing = tier_of(ref, overrides=dict(overrides), served=True)
    return min(tiers, key=lambda one: -1 if one.tier is None else RANK[one.tier], default=nothing)


def _size_of(model: ModelFact) -> tuple[float | None, int | None]:
    """Return the model's parameters in billions, and its context by its test, else by the server."""
    measured = model.passport.ctx if model.passport is not None else None
    parameters = model.parameters / 1e9 if model.parameters else None
    return parameters, measured or model.ctx_usable


def trusted_at(views: Sequence[NodeView], needs: Needs | None) -> tuple[str, ...]:
    """Return the names of the nodes on which the model has passed its test."""
    if needs is None:
        return ()
    trust = ((view.node.name, trust_of(view, needs)) for view in views)
    return tuple(name for name, one in trust if _has_trust(one, Trust.GOOD))


def filter_candidates(
    found: Sequence[Candidate], views: Sequence[NodeView], needs: Needs
) -> tuple[tuple[Candidate, ...], tuple[ModelPlace, ...]]:
    """Return the candidates, updated by the model's tests, and the places to test first, the readiest first.
    A failed model excludes its node. If it passed on one node, nodes without a test get nothing."""
    trust = dict(trust_at(found, views, needs))
    is_proven = any(one.trust is Trust.GOOD for one in trust.values())
    shown = tuple(_apply_trust(one, trust.get(one.name), needs, is_proven) for one in found)
    open_ = [one for one in shown if one.fits and not is_proven]
    untested = [one for one in open_ if _has_trust(trust.get(one.name), Trust.UNTESTED)]
    untested.sort(key=lambda one: not one.ready)
    return shown, tuple(needs.at(one.name) for one in untested)


def list_failures(found: Sequence[Candidate], views: Sequence[NodeView], needs: Needs) -> tuple[str, ...]:
    """Return how the model failed its test on nodes that could otherwise take the run, as texts."""
    trust = trust_at(found, views, needs)
    return tuple(
        f"on {name} {describe_failure(needs.model, one)}" for name, one in trust if one.trust is Trust.FAILED
    )


def list_unknowns(found: Sequence[Candidate], views: Sequence[NodeView], needs: Needs) -> tuple[str, ...]:
    """Return what tests of the model could not determine on nodes that could take the run, as texts."""
    good = ((name, one.words) for name, one in trust_at(found, views, needs) if one.trust is Trust.GOOD)
    return tuple(f"{needs.model} on {name}: {words}" for name, words in good if words)


def trust_at(
    found: Sequence[Candidate], views: Sequence[NodeView], needs: Needs
) -> Iterator[tuple[str, Trusted]]:
    """Yield the nodes that could take the run and report its model, each with its trust in the model."""
    fitting = {one.name for one in found if one.fits}
    for view in views:
        trust = trust_of(view, needs) if view.node.name in fitting else None
        if trust is not None:
            yield view.node.name, trust


def _has_trust(one: Trusted | None, what: Trust) -> bool:
    return one is not None and one.trust is what


def _apply_trust(one: Candidate, trusted: Trusted | None, needs: Needs, is_proven: bool) -> Candidate:
    if trusted is None:
        return one
    test = f"pancode models test {needs.at(one.name).text}"
    if trusted.trust is Trust.FAILED:
        why = with_words(describe_failure(needs.model, trusted), trusted.fix)
        first = f"follow the fix of {one.name}, then: " if trusted.fix else ""
        return replace(one, fits=False, ready=False, why=why, fix=f"{first}{test} --again")
    if trusted.trust is Trust.GOOD:
        return one
    if is_proven:
        return replace(one, fits=False, ready=False, why=f"{needs.model} {NOT_TESTED} there", fix=test)
    return replace(one, why=f"{one.why}; {needs.model} {NOT_TESTED}", fix=one.fix or test)
