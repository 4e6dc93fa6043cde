"""Chooses the model and the runtime of a dispatch: from the option, else the agent, else the settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from node_agent.wire.endpoint import Dialect, EndpointFact, Health, Residence
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Mode, Safety
from pancode.agents.agents import Agent, Speed, Tier
from pancode.agents.default_worker import nothing_ready
from pancode.agents.endpoints import (
    EndpointNeed,
    check_known,
    costs_nothing,
    endpoint_names,
    endpoint_of,
    find_by_model,
    pull_command,
)
from pancode.agents.model_profiles import Trust, endpoints_of, every_place, fact_of, judge_passport
from pancode.agents.models import ModelRef, VendorList, model_ref, resolve_provider
from pancode.agents.runtimes import OUR_OWN, RUNTIMES, RuntimeKind, no_runtime, resolve_alias, runtime_for
from pancode.kernel.errors import NotFoundError, PancodeError, UsageError
from pancode.kernel.formatting import first_few
from pancode.kernel.names import find_nearest
from pancode.kernel.node import NodeState, NodeView
from pancode.runs.placement.candidates import NodeRequirements, list_candidates
from pancode.runs.request import Catalogue, DispatchRequest

_SHOWN = 6
_EASIEST = (Dialect.OLLAMA, Dialect.LMSTUDIO, Dialect.LLAMACPP, Dialect.VLLM, Dialect.SGLANG)
"""The dialects of model servers, in the order of how easily a model is added to them."""


def check_somewhere(
    ref: ModelRef, kind: RuntimeKind, nodes: Sequence[NodeView], vendors: Mapping[str, VendorList]
) -> None:
    """Raise NotFoundError for a model without provider that no endpoint has and the default runtime lacks.

    `nodes`: the possible nodes. A silent node may have the model. A name that the runtime might know, such as
    `opus`, passes on a node with that runtime.
    """
    if not nodes or any(view.last is None for view in nodes) or _is_theirs(ref.model, kind, vendors):
        return
    near = find_nearest(ref.model, _list_names(nodes))
    word = not any(map(str.isdigit, ref.model))
    if _is_there(kind, nodes) and (kind.provider is None or (word and near is None)):
        return
    raise NotFoundError(
        f"model {ref.model!r} not found on any node",
        why=_explain_unknown(ref.model, near, kind, nodes),
        fix=_find_fix(ref.model, nodes, vendors),
        code="model_not_found",
        details={} if near is None else {"typed": ref.model, "near": _list_names(nodes)[near]},
    )


def _is_theirs(model: str, kind: RuntimeKind, vendors: Mapping[str, VendorList]) -> bool:
    """Whether the runtime's vendor lists the model, a similar name, or one that contains this name."""
    listed = vendors.get(kind.provider) if kind.provider is not None else None
    if listed is None:
        return False
    word = model.partition("[")[0].lower()
    return (
        listed.knows(model) or any(word in name.lower() for name in listed.names) or _is_near(model, listed)
    )


def _is_near(model: str, listed: VendorList) -> bool:
    return find_nearest(model, listed.names) is not None


def _is_there(kind: RuntimeKind, nodes: Sequence[NodeView]) -> bool:
    """Whether the runtime is ready on some node; the program of a vendor only has to be installed."""
    facts = (view.last.heartbeat.facts for view in nodes if view.last is not None)
    found = [one.state for fact in facts for one in fact.runtimes if one.name == kind.name]
    return any(state == "ok" or (kind.provider is not None and state != "missing") for state in found)


def _list_servers(nodes: Sequence[NodeView]) -> Iterator[tuple[NodeView, EndpointFact]]:
    return ((view, one) for view in nodes for one in endpoints_of(view))


def _list_names(nodes: Sequence[NodeView]) -> dict[str, str]:
    """Return the full name of every model except embedding models, by its name with and without tag."""
    found: dict[str, str] = {}
    for _, one in _list_servers(nodes):
        for model in one.models:
            if not model.embedding:
                found.setdefault(model.id, f"{one.name}/{model.id}")
                found.setdefault(model.id.partition(":")[0], f"{one.name}/{model.id}")
    return found


def _explain_unknown(model: str, near: str | None, kind: RuntimeKind, nodes: Sequence[NodeView]) -> str:
    names = _list_names(nodes)
    listed = list(dict.fromkeys(names.values()))
    if near is not None:
        return "; ".join([f"did you mean {names[near]}?", *_list_unseen(nodes)])
    there = f"there are {first_few(listed, _SHOWN)}"
    words = there if listed else "no model server with a model was found"
    if not _is_there(kind, nodes):
        words += f"; {kind.name}, the runtime for models without a provider, is not ready on any node"
    elif kind.provider is not None:
        words += f"; nor is it on {kind.provider}'s list"
    return "; ".join([words, *_list_unseen(nodes)])


def _list_unseen(nodes: Sequence[NodeView]) -> list[str]:
    """Return a message about the servers whose model list is incomplete; empty: there are none."""
    hidden = [
        f"{view.node.name}/{one.name}"
        for view, one in _list_servers(nodes)
        if one.more or one.health is not Health.OK
    ]
    return (
        [f"{', '.join(hidden)} may have more models than are listed; to use one, give its name"]
        if hidden
        else []
    )


def _find_fix(model: str, nodes: Sequence[NodeView], vendors: Mapping[str, VendorList]) -> str:
    providers = dict.fromkeys(kind.provider for kind in RUNTIMES.values() if kind.provider is not None)
    for provider in providers:
        listed = vendors.get(provider)
        if listed is not None and listed.knows(model):
            return f"use --model {shlex.quote(f'{provider}/{model}')}, a model of {provider}"
    return (
        f"{_make_pull_command(model, nodes)}; or say whose it is: --model {shlex.quote(f'PROVIDER/{model}')}"
    )


def _make_pull_command(model: str, nodes: Sequence[NodeView]) -> str:
    """Return the command that pulls the model, for the node whose server accepts a new model most easily."""
    able = [
        (view, one)
        for view, one in _list_servers(nodes)
        if one.dialect in _EASIEST and one.health is Health.OK
    ]
    if able:
        view, one = min(able, key=lambda pair: (_EASIEST.index(pair[1].dialect), -_read_memory(pair[0])))
        return f"on {view.node.name}: {pull_command(one.dialect, model)}"
    view = max(nodes, key=_read_memory)
    return (
        f"on {view.node.name}: install a model server, for example Ollama: "
        f"{pull_command(Dialect.OLLAMA, model)}"
    )


def _read_memory(view: NodeView) -> int:
    return view.last.heartbeat.facts.memory if view.last is not None else 0


def runtime_and_model(
    request: DispatchRequest, agent: Agent, catalogue: Catalogue
) -> tuple[RuntimeKind, ModelRef | None]:
    """Choose runtime and model together: a vendor's model requires the vendor's program. UsageError for an
    invalid model name or a misspelled provider, NotFoundError for an unknown runtime or node."""
    text = _choose_model(request, agent, catalogue)[0] if request.model is None else request.model
    with _named_by(request, agent, catalogue):
        reference, whole = _read(text, request, agent, catalogue)
    endpoint = endpoint_of(reference, catalogue.nodes)
    usual = runtime_for(reference) if endpoint is None else OUR_OWN
    wanted = request.runtime or agent.runtime or usual or catalogue.defaults.runtime
    # Use only the nodes that the request itself permits.
    there = (view for view in catalogue.nodes if view.node.removed is None)
    allowed = [view for view in there if request.node in (None, view.node.name)]
    # Choose the program of the vendor that lists the model, else one that is ready.
    if wanted is None and reference is not None:
        theirs = [one for one in RUNTIMES.values() if one.provider is not None]
        listed = [one for one in theirs if _is_theirs(reference.model, one, catalogue.vendors)]
        ready = [one for one in listed or theirs if _is_there(one, allowed)]
        wanted = (ready or listed or [RUNTIMES[OUR_OWN]])[0].name
    if wanted is None:
        raise nothing_ready(request.node, catalogue.nodes, talks=bool(request.turns))
    name = resolve_alias(wanted)
    if name not in RUNTIMES:
        raise no_runtime(wanted)
    kind = RUNTIMES[name]
    if kind.own:
        return kind, None
    with _named_by(request, agent, catalogue):
        if whole is not None and whole.provider is None and not (request.runtime or agent.runtime):
            check_somewhere(whole, kind, allowed, catalogue.vendors)
        if reference is not None and endpoint is not None:
            check_known(catalogue.nodes, reference, endpoint)
    return kind, whole if kind.provider is None else reference


def is_worker_named(request: DispatchRequest, agent: Agent, catalogue: Catalogue) -> bool:
    """Whether the request, its agent or the settings name a runtime or a model."""
    named = request.runtime or request.model or request.resume or agent.runtime or catalogue.defaults.runtime
    return bool(named or _choose_model(request, agent, catalogue)[0])


def _read(
    text: str | None, request: DispatchRequest, agent: Agent, catalogue: Catalogue
) -> tuple[ModelRef | None, ModelRef | None]:
    """Return the model's name as written, and with its resolved provider; (None, None): no model named."""
    if text is None:
        return None, None
    nodes = [view.node.name for view in catalogue.nodes if view.node.removed is None]
    servers = endpoint_names(catalogue.nodes)
    ref = model_ref(text, nodes, servers)
    # A runtime's own model whose name looks like `provider/model` is requested by its complete name.
    whole = resolve_provider(ref, nodes, servers)
    here = _where_it_is(whole, request, agent, catalogue)
    return (here, here) if here is not None else (ref, whole)


@contextmanager
def _named_by(request: DispatchRequest, agent: Agent, catalogue: Catalogue) -> Iterator[None]:
    """Add where the model's name comes from to errors about it, unless the request itself named it."""
    try:
        yield
    except PancodeError as wrong:
        if request.model is None:
            wrong.because(f"{model_from(request, agent, catalogue)} names it")
        raise


def _where_it_is(
    bare: ModelRef | None, request: DispatchRequest, agent: Agent, catalogue: Catalogue
) -> ModelRef | None:
    """Return the model at the only endpoint that has it; None if a provider or runtime is named or no
    endpoint has it. UsageError if several endpoints have it."""
    if bare is None or bare.provider is not None or request.runtime or agent.runtime:
        return None
    there = find_by_model(catalogue.nodes, bare.model, request.node)
    if not there:
        return None
    if len(there) > 1:
        raise UsageError(
            f"model {bare.model!r} is available at {len(there)} endpoints",
            why=f"there are {', '.join(f'{name}/{bare.model}' for name in there)}",
            fix=f"use --model {shlex.quote(f'{there[0]}/{bare.model}')}, or name another endpoint",
            code="model_ambiguous",
        )
    return ModelRef(None, there[0], bare.model)


def _choose_model(request: DispatchRequest, agent: Agent, catalogue: Catalogue) -> tuple[str | None, str]:
    """Return the model and, if track records chose it, why. A scout without a model gets the cheapest."""
    fleets = (catalogue.defaults.scout_model, catalogue.defaults.model)
    own = agent.model is not None and (agent.own or agent.model not in fleets)
    models = catalogue.defaults.models
    runtime = request.runtime or agent.runtime
    if request.scouts and not own and not runtime and not catalogue.defaults.scout_model:
        return find_cheapest(catalogue.nodes, request) or (model_of(agent, catalogue), "")
    if own or is_scout(agent) or len(models) < 2 or catalogue.pick_model is None:
        return model_of(agent, catalogue), ""
    name, numbers = catalogue.pick_model(agent.name, models, request.task)
    return name, f"models.choices, by track records: {numbers}"


def model_of(agent: Agent, catalogue: Catalogue) -> str | None:
    """Return the agent's own model, else the setting for scouts or for other workers."""
    defaults = catalogue.defaults
    return agent.model or (defaults.scout_model if is_scout(agent) else None) or defaults.model or None


def model_from(request: DispatchRequest, agent: Agent, catalogue: Catalogue) -> str:
    """Return where the choice of the model comes from: an option, an agent, or a setting and its file."""
    if request.model is not None:
        return "--model" if request.retry_of is None else f"as in run {request.retry_of}"
    fleets = (catalogue.defaults.scout_model, catalogue.defaults.model)
    if numbers := _choose_model(request, agent, catalogue)[1]:
        return numbers
    # A built-in agent has the model of the settings.
    if agent.model and (agent.own or agent.model not in fleets):
        return f"agent {agent.name}{f' ({agent.origin})' if agent.origin else ''}"
    key = "models.scout" if is_scout(agent) and catalogue.defaults.scout_model else "models.worker"
    origin = catalogue.defaults.origins.get(key, "")
    return f"{key}{f' ({origin})' if origin else ''}"


def find_cheapest(views: Sequence[NodeView], request: DispatchRequest) -> tuple[str, str] | None:
    """Return a free model that passed its test for read-only agents, with the reason; None if there is none.

    A loaded model comes before one that is not loaded. Other models are never chosen as
    the cheapest, because their cost per question is not known in advance.
    """
    found = sorted(_free(views, request))
    if not found:
        return None
    _, name, node = found[0]
    return name, f"the cheapest model that passed its test: it costs nothing, tested on {node}"


def _free(views: Sequence[NodeView], request: DispatchRequest) -> Iterator[tuple[bool, str, str]]:
    """Yield each free model: whether it is not loaded, its name, its node."""
    online = tuple(view for view in views if view.state is NodeState.ONLINE)
    for place in every_place(online):
        found = fact_of(place, online)
        if found is None or judge_passport(found[1].passport).trust is not Trust.GOOD:
            continue
        need = EndpointNeed(place.endpoint, place.model, OUR_OWN)
        wish = NodeRequirements(
            request.node, request.require, need.runtime, request.safety or Safety.AUTO_EDIT, wanted=need
        )
        able = any(one.fits and one.name == place.node for one in list_candidates(online, wish))
        if able and costs_nothing(online, place.endpoint, place.model):
            unloaded = found[1].residence not in (Residence.LOADED, None)
            yield unloaded, f"{place.endpoint}/{place.model}", place.node


def is_scout(agent: Agent) -> bool:
    """Whether the agent is read-only and fast; the settings have a separate model for such agents."""
    return agent.read_only and agent.speed is Speed.FAST and agent.tier is Tier.ANY


BY_SPEED: dict[Speed, Reasoning] = {Speed.FAST: Reasoning.LOW, Speed.THOROUGH: Reasoning.HIGH}
"""Default reasoning level by an agent's speed, for programs of vendors that support it."""
BY_MODE: dict[Mode, Reasoning] = {
    Mode.ADMIN: Reasoning.XHIGH,
    Mode.PLAN: Reasoning.HIGH,
    Mode.BUILD: Reasoning.MEDIUM,
    Mode.REVIEW: Reasoning.XHIGH,
}
"""The default effort of a leading agent by mode; a vendor's program gets the closest supported level."""


def reasoning_for(
    request: DispatchRequest, agent: Agent, kind: RuntimeKind, catalogue: Catalogue
) -> tuple[Reasoning | None, Reasoning | None]:
    """Return the reasoning level to use, and the level in the settings if the runtime does not support that.
    UsageError if the request or its agent names a level that the runtime does not support."""
    reasoning = request.reasoning or agent.reasoning
    wished = catalogue.defaults.reasoning
    if reasoning is None and wished is None:
        return _choose_level(request.mode or catalogue.defaults.mode, agent, kind), None
    if reasoning is None:
        return (None, None) if kind.own else (wished, None) if wished in kind.reasons else (None, wished)
    if reasoning in kind.reasons:
        return reasoning, None
    if request.reasoning is None and kind.own:
        return None, None
    takes = [level.value for level in Reasoning if level in kind.reasons]
    raise UsageError(
        f"runtime {kind.name} does not support reasoning level {reasoning}",
        why=f"it supports {', '.join(takes)}" if takes else "none of its models has reasoning levels",
        fix=f"use --reasoning {_find_closest(reasoning, kind)}, or another --runtime"
        if takes
        else "omit --reasoning",
        code="reasoning_not_taken",
    )


def _choose_level(mode: Mode, agent: Agent, kind: RuntimeKind) -> Reasoning | None:
    """Return the default reasoning level. None for a program that runs models of any vendor: whether the
    model supports a level is unknown, and many servers refuse a request with an unsupported level."""
    if agent.leads:
        return level_of_mode(mode, kind)
    usual = BY_SPEED.get(agent.speed)
    return usual if kind.provider is not None and usual in kind.reasons else None


def level_of_mode(mode: Mode, kind: RuntimeKind) -> Reasoning | None:
    """Return the default reasoning level of a leading agent; None if the runtime supports no levels."""
    return _find_closest(BY_MODE[mode], kind) if kind.provider is not None and kind.reasons else None


def _find_closest(reasoning: Reasoning, kind: RuntimeKind) -> Reasoning:
    levels = list(Reasoning)
    return min(kind.reasons, key=lambda level: (abs(levels.index(level) - levels.index(reasoning)), level))


def warn_unlisted(ref: ModelRef | None, kind: RuntimeKind, vendors: Mapping[str, VendorList]) -> str:
    """Return a warning if the vendor's list lacks this model; empty if the list has it or does not exist. A
    name without a digit, such as `opus`, is the program's own alias of a model."""
    if ref is None or kind.provider is None or not any(map(str.isdigit, ref.model)):
        return ""
    listed = vendors.get(kind.provider)
    if ref.provider not in (None, kind.provider) or listed is None or listed.knows(ref.model):
        return ""
    near = find_nearest(ref.model, listed.names)
    guess = f", did you mean {near}?" if near else f"; the list includes {', '.join(listed.names[-_SHOWN:])}"
    return f"{ref.model} is not on PanCode's list of {kind.provider}'s models{guess}"


def pin_node(request: DispatchRequest, ref: ModelRef | None, named_by: str) -> DispatchRequest:
    """Return the request, pinned to the node in the model's name; UsageError if the request has another node.
    `named_by`: who chose the model, as text."""
    if ref is None or ref.node is None:
        return request
    if request.node not in (None, ref.node):
        wrong = UsageError(
            f"model {ref.text} is on node {ref.node}, but --node is {request.node}",
            fix=f"use --model {ref.without_node().text}, or omit --node",
        )
        if request.model is None:
            wrong.because(f"{named_by} names it")
        raise wrong
    return replace(request, node=ref.node)
