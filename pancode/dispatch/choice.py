"""Chooses the model of a dispatch, and the runtime that runs it: flag > agent > fleet. Judges nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from node_agent.wire.order import Reasoning
from pancode.agents.agents import Agent, Speed, Tier
from pancode.agents.endpoints import check_known, endpoint_names, endpoint_of, serving
from pancode.agents.models import ModelRef, known, model_ref
from pancode.agents.request import Catalogue, DispatchRequest, VendorList
from pancode.agents.runtimes import OUR_OWN, RUNTIMES, RuntimeKind, canonical, runtime_for
from pancode.core.names import nearest, not_found
from pancode.dispatch.missing_model import check_somewhere
from pancode.errors import PancodeError, UsageError
from pancode.nodes.node import NodeView

_SHOWN = 6


def runtime_and_model(
    request: DispatchRequest, agent: Agent, catalogue: Catalogue
) -> tuple[RuntimeKind, ModelRef | None]:
    """The runtime and the model, which depend on each other: a vendor's model asks for the vendor's program.

    UsageError for a word that is no model or nearly a provider, NotFoundError for an unknown runtime or node.
    """
    text = _model(request, agent, catalogue)[0] if request.model is None else request.model
    with _named_by(request, agent, catalogue):
        asked, whole = _read(text, request, agent, catalogue)
    endpoint = endpoint_of(asked, catalogue.nodes)
    usual = runtime_for(asked) if endpoint is None else OUR_OWN
    kind = _runtime(request.runtime or agent.runtime or usual or catalogue.defaults.runtime)
    if kind.own:
        return kind, None
    with _named_by(request, agent, catalogue):
        if whole is not None and whole.provider is None and not (request.runtime or agent.runtime):
            check_somewhere(whole, kind, _meant(request, catalogue), catalogue.vendors)
        if asked is not None and endpoint is not None:
            check_known(catalogue.nodes, asked, endpoint)
    return kind, whole if kind.provider is None else asked


def _read(
    text: str | None, request: DispatchRequest, agent: Agent, catalogue: Catalogue
) -> tuple[ModelRef | None, ModelRef | None]:
    """The parts of the name as written, and the same with a known provider; None: no model is named."""
    if text is None:
        return None, None
    nodes = [view.node.name for view in catalogue.nodes if view.node.removed is None]
    servers = endpoint_names(catalogue.nodes)
    asked = model_ref(text, nodes, servers)
    # A model of the runtime's own that happens to look like `provider/model` is asked for whole.
    whole = known(asked, nodes, servers)
    here = _where_it_is(whole, request, agent, catalogue)
    return (here, here) if here is not None else (asked, whole)


@contextmanager
def _named_by(request: DispatchRequest, agent: Agent, catalogue: Catalogue) -> Iterator[None]:
    """An error about a model says who named it, if the request itself did not."""
    try:
        yield
    except PancodeError as wrong:
        if request.model is None:
            wrong.because(f"{model_from(request, agent, catalogue)} names it")
        raise


def _meant(request: DispatchRequest, catalogue: Catalogue) -> list[NodeView]:
    """The machines on which the run may go, as far as the request itself says it."""
    there = (view for view in catalogue.nodes if view.node.removed is None)
    return [view for view in there if request.node in (None, view.node.name)]


def _where_it_is(
    bare: ModelRef | None, request: DispatchRequest, agent: Agent, catalogue: Catalogue
) -> ModelRef | None:
    """The model at the only endpoint that has it, if no provider and no runtime is named; None: no endpoint
    has it.

    UsageError when several endpoints have it.
    """
    if bare is None or bare.provider is not None or request.runtime or agent.runtime:
        return None
    there = serving(catalogue.nodes, bare.model, request.node)
    if not there:
        return None
    if len(there) > 1:
        raise UsageError(
            f"the model {bare.model!r} is at {len(there)} endpoints",
            why=f"there are {', '.join(f'{name}/{bare.model}' for name in there)}",
            fix=f"--model {shlex.quote(f'{there[0]}/{bare.model}')}, or another of them",
            code="model_ambiguous",
        )
    return ModelRef(None, there[0], bare.model)


def _model(request: DispatchRequest, agent: Agent, catalogue: Catalogue) -> tuple[str | None, str]:
    """The model for a request that names none, and the reason: the records decide if several will do."""
    fleets = (catalogue.defaults.scout_model, catalogue.defaults.model)
    own = agent.model is not None and (agent.own or agent.model not in fleets)
    models = catalogue.defaults.models
    if own or is_scout(agent) or len(models) < 2 or catalogue.pick_model is None:
        return model_of(agent, catalogue), ""
    name, numbers = catalogue.pick_model(agent.name, models, request.task)
    return name, f"models.choices, by the records: {numbers}"


def model_of(agent: Agent, catalogue: Catalogue) -> str | None:
    """The agent's own model; else the scouts' model for an agent that only looks, and fast; else the
    workers'."""
    defaults = catalogue.defaults
    return agent.model or (defaults.scout_model if is_scout(agent) else None) or defaults.model or None


def model_from(request: DispatchRequest, agent: Agent, catalogue: Catalogue) -> str:
    """The source of the choice, in words: the setting, and where it is written."""
    if request.model is not None:
        return "--model" if request.retry_of is None else f"as run {request.retry_of} had it"
    fleets = (catalogue.defaults.scout_model, catalogue.defaults.model)
    if numbers := _model(request, agent, catalogue)[1]:
        return numbers
    if agent.model and (agent.own or agent.model not in fleets):  # a shipped one names those of the settings
        return f"agent {agent.name}{f' ({agent.origin})' if agent.origin else ''}"
    key = "models.scout" if is_scout(agent) and catalogue.defaults.scout_model else "models.worker"
    origin = catalogue.defaults.origins.get(key, "")
    return f"{key}{f' ({origin})' if origin else ''}"


def is_scout(agent: Agent) -> bool:
    """Whether the agent only looks, and fast: such agents have a model of their own in the settings."""
    return agent.read_only and agent.speed is Speed.FAST and agent.tier is Tier.ANY


BY_SPEED: dict[Speed, Reasoning] = {Speed.FAST: Reasoning.LOW, Speed.THOROUGH: Reasoning.HIGH}
"""The default reasoning effort of an agent's model, where its runtime takes one."""


def reasoning_for(
    request: DispatchRequest, agent: Agent, kind: RuntimeKind, catalogue: Catalogue
) -> tuple[Reasoning | None, Reasoning | None]:
    """The requested level, and the level in the settings that the runtime does not know.

    UsageError when the request or its agent names a level that the runtime does not know.
    """
    asked = request.reasoning or agent.reasoning
    wished = catalogue.defaults.reasoning
    if asked is None and wished is None:
        usual = BY_SPEED.get(agent.speed)
        return (usual if usual in kind.reasons else None), None
    if asked is None:
        return (None, None) if kind.own else (wished, None) if wished in kind.reasons else (None, wished)
    if asked in kind.reasons:
        return asked, None
    if request.reasoning is None and kind.own:
        return None, None
    takes = [level.value for level in Reasoning if level in kind.reasons]
    raise UsageError(
        f"runtime {kind.name} cannot be asked for reasoning {asked}",
        why=f"it takes {', '.join(takes)}" if takes else "no model of it can be asked for a level",
        fix=f"--reasoning {_closest(asked, kind)}, or another --runtime"
        if takes
        else "leave --reasoning out",
        code="reasoning_not_taken",
    )


def _closest(asked: Reasoning, kind: RuntimeKind) -> Reasoning:
    levels = list(Reasoning)
    return min(kind.reasons, key=lambda level: (abs(levels.index(level) - levels.index(asked)), level))


def unlisted(ref: ModelRef | None, kind: RuntimeKind, vendors: Mapping[str, VendorList]) -> str:
    """The warning that a vendor's list does not have this model; empty when it has, or nobody can say.

    A name without a digit, as `opus`, is the program's own word for a model.
    """
    if ref is None or kind.provider is None or not any(map(str.isdigit, ref.model)):
        return ""
    listed = vendors.get(kind.provider)
    if ref.provider not in (None, kind.provider) or listed is None or listed.knows(ref.model):
        return ""
    near = nearest(ref.model, listed.names)
    guess = (
        f", did you mean {near}?" if near else f"; there are {', '.join(listed.names[-_SHOWN:])} and others"
    )
    return f"{ref.model} is not on PanCode's list of {kind.provider}'s models{guess}"


def pinned(request: DispatchRequest, ref: ModelRef | None, named_by: str) -> DispatchRequest:
    """The request, pinned to the node in its model's name; UsageError when it asks for another node.

    `named_by`: who chose the model, in words.
    """
    if ref is None or ref.node is None:
        return request
    if request.node not in (None, ref.node):
        wrong = UsageError(
            f"the model {ref.text} is on {ref.node}, and --node says {request.node}",
            fix=f"--model {ref.without_node().text}, or leave --node out",
        )
        if request.model is None:
            wrong.because(f"{named_by} names it")
        raise wrong
    return replace(request, node=ref.node)


def _runtime(asked: str) -> RuntimeKind:
    name = canonical(asked)
    if name not in RUNTIMES:
        raise not_found("runtime", asked, RUNTIMES, "pancode runtimes")
    return RUNTIMES[name]
