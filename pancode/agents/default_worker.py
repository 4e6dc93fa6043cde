"""Chooses the runtime or model for a task that names neither: the best tier that is ready comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node_agent.wire.endpoint import Dialect, Health
from node_agent.wire.node import RuntimeFact
from pancode.agents.endpoints import pull_command
from pancode.agents.model_profiles import (
    Trust,
    describe_failure,
    endpoints_of,
    every_place,
    fact_of,
    judge_passport,
)
from pancode.agents.models import ModelRef
from pancode.agents.runtimes import RUNTIMES, RuntimeKind
from pancode.agents.tiers import RANK, ModelTier, tier_of
from pancode.kernel.errors import RefusedError
from pancode.kernel.formatting import first_few
from pancode.kernel.node import NodeView, with_words

MOST_MODELS = 8
"""The maximum number of the fleet's own models to try."""
EASY = "qwen3:8b"
"""A model that can call tools and fits on a typical machine."""
NOTHING_READY = "nothing_ready"
NO_NODE = "pancode node add NAME; for this machine: pancode node add NAME --local"
_SHOWN = 3
_STATES = {"not_logged_in": "is not logged in", "too_old": "is too old"}


@dataclass(frozen=True, slots=True)
class DefaultWorker:
    """A runtime with its own model, or a model of an endpoint as ENDPOINT/MODEL."""

    runtime: str | None = None
    model: str | None = None

    @property
    def text(self) -> str:
        return self.model or self.runtime or ""


def find_workers(
    node: str | None, nodes: Sequence[NodeView], tiers: Mapping[str, ModelTier]
) -> list[DefaultWorker]:
    """Return the runtimes and models that could run a task on this node (None: on any), in the order to try.
    Vendor programs rank as frontier. Within a tier, tested models come first. Only free models count."""
    there = [view for view in nodes if view.node.removed is None and node in (None, view.node.name)]
    ready = {one.name for view in there for one in _list_runtimes(view) if one.state in ("ok", "looking")}
    best = (-RANK[ModelTier.FRONTIER], True, False, 0.0, "")
    programs = [kind.name for kind in RUNTIMES.values() if _has_own_model(kind) and kind.name in ready]
    found = [(best, DefaultWorker(name)) for name in programs]
    for place in every_place(there):
        fact = fact_of(place, there)
        if fact is None or not fact[0].free or fact[1].remote or fact[1].tools is False:
            continue  # it costs money, or cannot call tools
        trust, size = judge_passport(fact[1].passport).trust, float(fact[1].parameters or 0)
        if trust is not Trust.FAILED:
            ref = ModelRef(place.node, place.endpoint, place.model)
            tier = tier_of(ref, size / 1e9 or None, fact[1].ctx_usable, dict(tiers), served=True).tier
            rank = 1 if tier is None else -RANK[tier]
            key = (rank, False, trust is not Trust.GOOD, -size, place.text)
            found.append((key, DefaultWorker(model=f"{place.endpoint}/{place.model}")))
    found.sort(key=lambda one: one[0])
    workers = list(dict.fromkeys(worker for _, worker in found))
    models = [one for one in workers if one.model][:MOST_MODELS]
    return [one for one in workers if one.runtime or one in models]


def _has_own_model(kind: RuntimeKind) -> bool:
    return kind.takes_turns and not kind.needs_model


def _list_runtimes(view: NodeView) -> tuple[RuntimeFact, ...]:
    return view.last.heartbeat.facts.runtimes if view.last is not None else ()


def nothing_ready(node: str | None, nodes: Sequence[NodeView], *, talks: bool) -> RefusedError:
    """Return the error if nothing is ready for a dispatch; its fix begins with what is ready elsewhere."""
    all_there = [view for view in nodes if view.node.removed is None]
    there = [view for view in all_there if node in (None, view.node.name)]
    if not there:
        return RefusedError("Dispatch blocked: the fleet has no nodes", fix=NO_NODE, code=NOTHING_READY)
    elsewhere = ""
    for view in all_there if node is not None else []:
        if view.node.name != node and (ready := find_workers(view.node.name, all_there, {})):
            option = f" --model {ready[0].model}" if ready[0].model else ""
            elsewhere = f"--node {view.node.name}{option}, where {ready[0].text} is available"
            break
    where = f"on {node}" if node else "on any node"
    return RefusedError(
        f"Dispatch blocked: no agent program or model is ready {where}",
        why="; ".join(dict.fromkeys(find_reasons(there))),
        fix="; or ".join(filter(None, (elsewhere, suggest_fix(there, talks=talks)))),
        code=NOTHING_READY,
    )


def find_reasons(nodes: Sequence[NodeView]) -> list[str]:
    """Return why each program and model cannot work; equal reasons of several nodes are merged."""
    unheard = [view.node.name for view in nodes if view.last is None]
    heard = [view for view in nodes if view.last is not None]
    reasons = [f"{first_few(unheard, _SHOWN)} has not reported yet"] if unheard else []
    by_state: dict[tuple[str, str], list[str]] = {}
    for view in heard:
        for one in _list_runtimes(view):
            if one.state in _STATES and one.name in RUNTIMES and _has_own_model(RUNTIMES[one.name]):
                by_state.setdefault((one.name, one.state), []).append(view.node.name)
    reasons += [
        f"{name} {_STATES[state]} on {first_few(on, _SHOWN)}" for (name, state), on in by_state.items()
    ]
    there = {one.name for view in heard for one in _list_runtimes(view) if one.state != "missing"}
    absent = [kind.name for kind in RUNTIMES.values() if _has_own_model(kind) and kind.name not in there]
    on_heard = first_few([view.node.name for view in heard], _SHOWN)
    reasons += [f"{', '.join(absent)}: not installed on {on_heard}"] if heard and absent else []
    failed = [
        (place, judge_passport(found[1].passport))
        for place in every_place(heard)
        if (found := fact_of(place, heard)) is not None
    ]
    failed = [(place, one) for place, one in failed if one.trust is Trust.FAILED]
    reasons += [
        f"on {place.node} {with_words(describe_failure(place.model, one), one.fix)}" for place, one in failed
    ]
    if heard:
        other = " other" if failed else ""
        reasons.append(f"no{other} model server with a usable model was found on {on_heard}")
    return reasons


def suggest_fix(nodes: Sequence[NodeView], *, talks: bool) -> str:
    """Return the easiest step that makes something ready on these nodes."""
    command = "pancode chat" if talks else "pancode dispatch"
    unheard = [view.node.name for view in nodes if view.last is None]
    if len(unheard) == len(nodes):
        return f"pancode fleet up {unheard[0]}"
    for kind in RUNTIMES.values():
        found = [one for view in nodes for one in _list_runtimes(view) if one.name == kind.name]
        is_ready = any(one.state == "ok" for one in found)
        if kind.takes_turns and kind.needs_model and is_ready:
            return (
                f"{kind.name} is ready; choose a model: {command} --runtime {kind.name} --model PROVIDER/NAME"
            )
    for view in nodes:
        for server in endpoints_of(view):
            # a model that is present but not ready failed its test; it may talk with a user but not write
            if server.model(EASY) is not None:
                if talks and server.free:
                    return f"{command} --runtime native --model {server.name}/{EASY} --untested"
            elif server.health is Health.OK and server.free and (pull := pull_command(server.dialect, EASY)):
                return f"on {view.node.name}: {pull}"
    for view in nodes:
        for program in _list_runtimes(view):
            if program.state == "not_logged_in" and _has_own_model(RUNTIMES[program.name]):
                return f"pancode node login {view.node.name} {program.name}"
    first, easy = nodes[0].node.name, pull_command(Dialect.OLLAMA, EASY)
    dispatch = f"{command} --runtime native --model openai/gpt-5.5"
    key = f"pancode node secret {first} OPENAI_API_KEY, then {dispatch}"
    install = f"pancode node install {first} claude, then pancode node login {first} claude"
    return f"{install}; or on {first}: install Ollama and {easy}; or with a key: {key}"
