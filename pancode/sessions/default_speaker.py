"""Decides by which model or program a session talks where nobody has named one, or says what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from node_agent.wire.endpoint import Dialect, Health
from pancode.agents.agents import find_agent
from pancode.agents.endpoints import pull_command
from pancode.agents.model_profiles import ModelPlace, Trust, endpoints_of, every_place, fact_of, judged
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.errors import PancodeError, RefusedError
from pancode.kernel.formatting import first_few
from pancode.kernel.node import NodeView
from pancode.kernel.values import replace
from pancode.runs.admission.gates import first_refused
from pancode.runs.core import Core
from pancode.runs.dispatch import dry_run
from pancode.runs.request import DispatchRequest
from pancode.runs.user_environment import Surroundings

MOST_MODELS = 8
"""How many of the fleet's own models are tried at most."""
EASY = "qwen3:8b"
"""A model that calls tools, and that a usual machine can hold."""
NO_TURNS = "takes_no_turns"
"""The code of the refusal that another program would lift."""
Way = dict[str, Any]
"""Options of a request that let it talk: a model, or a runtime with a model of its own."""


def spoken(
    core: Core, around: Surroundings, request: DispatchRequest, project: str | None
) -> tuple[DispatchRequest, str]:
    """Return the request with what is ready to talk, and words for that; unchanged where a model or program
    is named.

    RefusedError with what could be had, where nothing on any machine could talk.
    """
    # whether the request, its agent or the settings say what it runs on
    agent, defaults = find_agent(around.agents(project), str(request.agent)), around.defaults(project)
    asked = request.model or request.runtime or request.resume or request.continues
    is_named = bool(asked or agent.runtime or agent.model or defaults.model or defaults.models)
    if is_named:
        return request, ""
    with core.ports.ledger.transaction() as tx:
        nodes = [view for view in core.views(tx) if view.node.removed is None]
    later: list[Way] = []
    wrong: list[PancodeError] = []
    for way in ({}, *ways(nodes)):
        try:
            able = _able(core, around, replace(request, **way))
        except PancodeError as problem:
            wrong, able = [*wrong, problem], ""
        if able == "ready":
            return replace(request, **way), _chosen(way)
        later += [way] if able else []
    if later:
        return replace(request, **later[0]), _chosen(later[0])
    if wrong and wrong[0].code != NO_TURNS:  # a node that is not there
        raise wrong[0]
    raise nothing_talks([view for view in nodes if request.node in (None, view.node.name)])


def ways(nodes: Sequence[NodeView]) -> Iterator[Way]:
    """Yield what to try: own models that cost nothing, then programs with models of their own."""
    free = [place for place in every_place(nodes) if _rank(place, nodes) is not None]
    names = [f"{one.endpoint}/{one.model}" for one in sorted(free, key=lambda one: _rank(one, nodes) or ())]
    yield from ({"model": name} for name in list(dict.fromkeys(names))[:MOST_MODELS])
    talkers = [kind for kind in RUNTIMES.values() if kind.takes_turns and not kind.needs_model]
    yield from ({"runtime": kind.name} for kind in talkers)


def _rank(place: ModelPlace, nodes: Sequence[NodeView]) -> tuple[object, ...] | None:
    """Return the order of trying, lowest first: tested, then larger. None: costs, calls no tools, or failed
    its test.
    """
    found = fact_of(place, nodes)
    if found is None or not found[0].free or found[1].remote or found[1].tools is False:
        return None
    trust = judged(found[1].passport, read_only=True).trust
    if trust is Trust.FAILED:
        return None
    return trust is not Trust.GOOD, -(found[1].parameters or 0), place.text


def _able(core: Core, around: Surroundings, request: DispatchRequest) -> str:
    """Return `ready`; `later` where the request would wait, or a gate other than routing refuses; else
    empty."""
    done = dry_run(core, around, request)
    refused = first_refused(done.verdicts, request.ask)
    if refused is not None:
        return "" if refused.gate == "routing" else "later"
    found = done.resolution.candidates
    return "ready" if any(one.ready for one in found) else "later" if any(one.fits for one in found) else ""


def _chosen(way: Way) -> str:
    what = way.get("model") or way.get("runtime")
    return f"with {what}, as nobody has named a model" if what else ""


def nothing_talks(nodes: Sequence[NodeView]) -> RefusedError:
    """Return the refusal that says why nobody could answer, and the easiest thing that helps."""
    where = first_few([view.node.name for view in nodes], 3)
    why = f"no model server with a model that may be used was found on {where}" if nodes else ""
    what = "no machine has a model to talk with" if nodes else "no machine is in the fleet"
    return RefusedError(what, why=why, fix=_fix(nodes), code="nothing_talks")


def _ready_on(nodes: Sequence[NodeView], runtime: str) -> list[str]:
    """Return the machines on which that program is ready."""
    facts = ((view.node.name, view.last.heartbeat.facts) for view in nodes if view.last is not None)
    return [
        name
        for name, fact in facts
        if any(one.name == runtime and one.state == "ok" for one in fact.runtimes)
    ]


def _fix(nodes: Sequence[NodeView]) -> str:
    if not nodes:
        return "pancode fleet up"
    for kind in RUNTIMES.values():
        if kind.takes_turns and kind.needs_model and _ready_on(nodes, kind.name):
            command = f"pancode chat --runtime {kind.name} --model PROVIDER/NAME"
            return f"{kind.name} is ready, name its model: {command}"
    for view in nodes:
        for one in endpoints_of(view):
            if one.health is Health.OK and one.free and (command := pull_command(one.dialect, EASY)):
                return f"on {view.node.name}: {command}"
    node, easy = nodes[0].node.name, pull_command(Dialect.OLLAMA, EASY)
    chat = "pancode chat --runtime native --model openai/gpt-5.5"
    key = f"pancode node secret set {node} OPENAI_API_KEY, then {chat}"
    return f"on {node}: install Ollama and {easy}; or with a key: {key}"
