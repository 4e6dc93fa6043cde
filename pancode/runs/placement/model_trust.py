"""Judges the nodes that could take a run by what their tests say of its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from node_agent.wire.endpoint import ModelFact
from pancode.agents.model_profiles import (
    NOT_TESTED,
    ModelPlace,
    Needs,
    Trust,
    Trusted,
    fact_of,
    failure,
    trust_of,
)
from pancode.agents.models import ModelRef
from pancode.agents.tiers import RANK, ModelTier, Tiered, tier_of
from pancode.kernel.node import NodeView, with_words
from pancode.runs.placement.candidates import Candidate


def tier_at(
    ref: ModelRef,
    found: Sequence[Candidate],
    views: Sequence[NodeView],
    needs: Needs,
    overrides: Mapping[str, ModelTier],
) -> Tiered:
    """Return the model's tier by its servers' facts: the lowest among the nodes that could take the run."""
    fitting = {one.name for one in found if one.fits}
    facts = [fact_of(needs.at(view.node.name), (view,)) for view in views if view.node.name in fitting]
    models = [fact[1] for fact in facts if fact is not None]
    tiers = [tier_of(ref, *_size_of(model), dict(overrides), served=True) for model in models]
    nothing = tier_of(ref, overrides=dict(overrides), served=True)
    return min(tiers, key=lambda one: -1 if one.tier is None else RANK[one.tier], default=nothing)


def _size_of(model: ModelFact) -> tuple[float | None, int | None]:
    """Return the parameters in billions, and the context that the test found, or that the server tells."""
    measured = model.passport.ctx if model.passport is not None else None
    parameters = model.parameters / 1e9 if model.parameters else None
    return parameters, measured or model.ctx_usable


def trusted_at(views: Sequence[NodeView], needs: Needs | None) -> tuple[str, ...]:
    """Return the nodes on which the model has passed its test."""
    if needs is None:
        return ()
    trust = ((view.node.name, trust_of(view, needs)) for view in views)
    return tuple(name for name, one in trust if _is(one, Trust.GOOD))


def sifted(
    found: Sequence[Candidate], views: Sequence[NodeView], needs: Needs
) -> tuple[tuple[Candidate, ...], tuple[ModelPlace, ...]]:
    """Return the candidates judged by the model's passports, and the places to test first, the readiest
    first.

    A model that has failed takes its node out. While one has passed, those that were not tested get nothing.
    """
    by_node = {view.node.name: trust_of(view, needs) for view in views}
    trust = {one.name: by_node.get(one.name) for one in found if one.fits}
    is_proven = any(one is not None and one.trust is Trust.GOOD for one in trust.values())
    shown = tuple(_shown(one, trust.get(one.name), needs, is_proven) for one in found)
    open_ = [one for one in shown if one.fits and not is_proven]
    untested = [one for one in open_ if _is(trust.get(one.name), Trust.UNTESTED)]
    untested.sort(key=lambda one: not one.ready)
    return shown, tuple(needs.at(one.name) for one in untested)


def failures(found: Sequence[Candidate], views: Sequence[NodeView], needs: Needs) -> tuple[str, ...]:
    """Return how the model failed its test on the nodes that could take the run otherwise, in words."""
    fitting = {one.name for one in found if one.fits}
    trust = ((view.node.name, trust_of(view, needs)) for view in views if view.node.name in fitting)
    return tuple(
        f"on {name} {failure(needs.model, one)}"
        for name, one in trust
        if one is not None and one.trust is Trust.FAILED
    )


def unknowns(found: Sequence[Candidate], views: Sequence[NodeView], needs: Needs) -> tuple[str, ...]:
    """Return the facts that no test could find out, on the nodes that could take the run, in words."""
    fitting = {one.name for one in found if one.fits}
    trust = ((view.node.name, trust_of(view, needs)) for view in views if view.node.name in fitting)
    return tuple(
        f"{needs.model} on {name}: {one.words}"
        for name, one in trust
        if one is not None and one.trust is Trust.GOOD and one.words
    )


def _is(one: Trusted | None, what: Trust) -> bool:
    return one is not None and one.trust is what


def _shown(one: Candidate, trusted: Trusted | None, needs: Needs, is_proven: bool) -> Candidate:
    if trusted is None:
        return one
    test = f"pancode models test {needs.at(one.name).text}"
    if trusted.trust is Trust.FAILED:
        why = with_words(failure(needs.model, trusted), trusted.fix)
        first = f"do as {one.name} says, then: " if trusted.fix else ""
        return replace(one, fits=False, ready=False, why=why, fix=f"{first}{test} --again")
    if trusted.trust is Trust.GOOD:
        return one
    if is_proven:
        return replace(one, fits=False, ready=False, why=f"{needs.model} {NOT_TESTED} there", fix=test)
    return replace(one, why=f"{one.why}; {needs.model} {NOT_TESTED}", fix=one.fix or test)
