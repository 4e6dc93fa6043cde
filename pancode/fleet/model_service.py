"""The model servers that nodes reach, and their models with their tiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from node_agent.wire.endpoint import EndpointFact, ModelFact, PassportFact
from pancode.agents.answers import EndpointShape, GradeShape, ModelShape, NodeEndpoint, PassportShape
from pancode.agents.model_profiles import Trust, judge_passport
from pancode.agents.models import ModelRef
from pancode.agents.tiers import ModelTier, tier_of
from pancode.kernel.errors import UsageError
from pancode.kernel.names import find_nearest, not_found
from pancode.kernel.node import separate_advice
from pancode.runs.core import Core
from pancode.runs.views import format_optional_iso


def passport_shape(passport: PassportFact | None) -> PassportShape:
    """Return the results of a model's test; empty results for a model that was not tested."""
    if passport is None:
        return PassportShape(passed=None, checks=[], ctx=None, taken_at=None)
    checks = [
        GradeShape(check=one.check.value, grade=one.grade.value, words=one.words, fix="", says=one.fix)
        for one in passport.checks
    ]
    return PassportShape(
        passed=judge_passport(passport).trust is Trust.GOOD,
        checks=checks,
        ctx=passport.ctx,
        taken_at=format_optional_iso(passport.taken_ms),
    )


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """Which models are requested. `node`, `tier` None: of every node, of every tier."""

    node: str | None
    tier: str | None


def endpoint_shape(fact: EndpointFact) -> EndpointShape:
    return cast(EndpointShape, separate_advice(fact.model_dump(mode="json")))


def list_endpoints(core: Core, node: str | None) -> list[NodeEndpoint]:
    """Return the endpoints by node, then by name. NotFoundError for an unknown node."""
    return [{"node": name, **endpoint_shape(fact)} for name, fact in _list_all(core, node)]


def list_models(core: Core, filter: ModelFilter, tiers: Mapping[str, ModelTier]) -> list[ModelShape]:
    """Return the models of a node or tier, or all. UsageError for an unknown tier."""
    wanted = _parse_tier(filter.tier)
    every = [
        _shape(node, endpoint, model, dict(tiers))
        for node, endpoint in _list_all(core, filter.node)
        for model in endpoint.models
    ]
    return [one for one in every if wanted is None or one["tier"] == wanted]


def _parse_tier(text: str | None) -> ModelTier | None:
    names = [tier.value for tier in ModelTier]
    if text is None or text in names:
        return None if text is None else ModelTier(text)
    near = find_nearest(text, names)
    why = f"did you mean {near}?" if near else f"there are {', '.join(names)}"
    fix = f"pancode models --tier {near or ModelTier.MID}"
    raise UsageError(f"tier {text!r} not found", why=why, fix=fix, code="bad_tier")


def _list_all(core: Core, node: str | None) -> Iterator[tuple[str, EndpointFact]]:
    with core.ports.ledger.transaction() as tx:
        views = [view for view in core.views(tx) if view.node.removed is None]
    names = [view.node.name for view in views]
    if node is not None and node not in names:
        raise not_found("node", node, names, "pancode node ls")
    for view in sorted(views, key=lambda one: one.node.name):
        if view.last is not None and node in (None, view.node.name):
            for fact in view.last.heartbeat.facts.endpoints:
                yield view.node.name, fact


def _shape(node: str, endpoint: EndpointFact, model: ModelFact, tiers: dict[str, ModelTier]) -> ModelShape:
    ref = ModelRef(node, endpoint.name, model.id)
    billions = None if model.parameters is None else model.parameters / 10**9
    tiered = tier_of(ref, billions, model.ctx_usable, tiers)
    place = {"node": node, "endpoint": endpoint.name, "ref": ref.text}
    passport = {"passport": passport_shape(model.passport)}
    tier = {"tier": None if tiered.tier is None else tiered.tier.value, "tier_why": tiered.why}
    shape = {**place, **tier, **separate_advice(model.model_dump(mode="json")), **passport}
    return cast(ModelShape, shape)
