"""Decides whether a local model may be given work: by the passport that its node has taken of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from node_agent.wire.endpoint import EndpointFact, ExamCheck, Grade, Health, ModelFact, PassportFact
from pancode.agents.models import ModelRef
from pancode.agents.tiers import RANK, ModelTier, Tiered, tier_of
from pancode.kernel.errors import NotFoundError, RefusedError
from pancode.kernel.names import not_found
from pancode.kernel.node import NodeView, with_words
from pancode.runs.placement.candidates import Candidate

READERS_NEED = (ExamCheck.ANSWERS, ExamCheck.CONTEXT, ExamCheck.TOOLS)
"""The checks that count for agents that change nothing: they do not need a model that edits well."""
NOT_TESTED = "was not tested yet"
COSTS = "its test costs money, which no budget counts"
MODEL_UNTESTED, COSTLY_TEST = "model_untested", "costly_test"
"""Codes of refusals that a test takes away: a free test, and one that a person has to want."""


class Trust(StrEnum):
    """What a passport means for an agent's work."""

    GOOD = "good"
    FAILED = "failed"
    UNTESTED = "untested"


@dataclass(frozen=True, slots=True)
class Trusted:
    """A verdict. `words`, `fix`: of the first failed check; of a good one, what could not be found out."""

    trust: Trust
    words: str = ""
    fix: str = ""


def judged(passport: PassportFact | None, read_only: bool) -> Trusted:
    """Return the verdict for such an agent. An unknown check is reported, and stops nobody."""
    if passport is None:
        return Trusted(Trust.UNTESTED, NOT_TESTED)
    needed = [one for one in passport.checks if not read_only or one.check in READERS_NEED]
    failed = next((one for one in needed if one.grade is Grade.FAILED), None)
    if failed is not None:
        return Trusted(Trust.FAILED, f"{failed.check}: {failed.words}", failed.fix)
    unknown = [f"{one.check}: {one.words}" for one in needed if one.grade is Grade.UNKNOWN]
    return Trusted(Trust.GOOD, "; ".join(unknown))


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """A model on a server of a node."""

    node: str
    endpoint: str
    model: str

    @property
    def text(self) -> str:
        """The model as `--model` takes it."""
        return f"{self.node}/{self.endpoint}/{self.model}"


@dataclass(frozen=True, slots=True)
class Needs:
    """A run's model, and the kind of agent that needs it."""

    endpoint: str
    model: str
    read_only: bool

    def at(self, node: str) -> ModelPlace:
        return ModelPlace(node, self.endpoint, self.model)


def trust_of(view: NodeView, needs: Needs) -> Trusted | None:
    """Return the trust in the model on that node; None when the node does not report it: whether it is there
    is decided elsewhere.
    """
    found = fact_of(needs.at(view.node.name), (view,))
    return None if found is None else judged(found[1].passport, needs.read_only)


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


def failure(model: str, trusted: Trusted) -> str:
    return f"model {model} did not pass its test: {trusted.words}"


def untested(place: ModelPlace, costs: bool) -> RefusedError:
    """Return the refusal of a dispatch that needs a test first; the command line tests, and tries again.

    It does not where the test costs: nobody was asked, and no budget has it.
    """
    words = f"Dispatch blocked: the model {place.model} {NOT_TESTED} on {place.node}"
    why = f"the limits of local models show only when they are tested ({place.endpoint})"
    return RefusedError(
        f"{words}, and {COSTS}" if costs else words,
        why=why,
        fix=f"pancode models test {place.text}; or dispatch with --untested",
        code=COSTLY_TEST if costs else MODEL_UNTESTED,
        details={"node": place.node, "endpoint": place.endpoint, "model": place.model},
    )


def every_place(views: Sequence[NodeView]) -> list[ModelPlace]:
    """Return each model that could be talked with, of each node that is heard."""
    return [
        ModelPlace(view.node.name, endpoint.name, model.id)
        for view in sorted(views, key=lambda one: one.node.name)
        for endpoint in endpoints_of(view)
        for model in endpoint.models
        if not model.embedding
    ]


def places_of(text: str, views: Sequence[NodeView], node: str | None = None) -> list[ModelPlace]:
    """Return the places of a model named MODEL, ENDPOINT/MODEL or NODE/ENDPOINT/MODEL. NotFoundError."""
    there = [one for one in every_place(views) if node in (None, one.node)]
    found = [one for one in there if text in _names(one, views)]
    if not found:
        names = {name for one in there for name in _names(one, views) if not name.startswith(f"{one.node}/")}
        where = f"pancode models --node {node}" if node is not None else "pancode models"
        raise _not_there(not_found("model", text, names, where), views, node)
    return found


def _not_there(error: NotFoundError, views: Sequence[NodeView], node: str | None) -> NotFoundError:
    """Return the error, with the servers that do not list their models in its fix."""
    silent = [
        f"{view.node.name}/{one.name}"
        for view in views
        for one in endpoints_of(view)
        if node in (None, view.node.name) and one.health is not Health.OK and not one.models
    ]
    if not silent:
        return error
    words = f"{error.why}; what {', '.join(silent)} has cannot be seen"
    return NotFoundError(str(error), why=words, fix=f"{error.fix}; and: pancode endpoints", code=error.code)


def fact_of(place: ModelPlace, views: Sequence[NodeView]) -> tuple[EndpointFact, ModelFact] | None:
    """Return the model as its node reports it now; None: the node does not."""
    view = next((one for one in views if one.node.name == place.node), None)
    for endpoint in endpoints_of(view) if view is not None else ():
        model = endpoint.model(place.model) if endpoint.name == place.endpoint else None
        if model is not None:
            return endpoint, model
    return None


def endpoints_of(view: NodeView) -> tuple[EndpointFact, ...]:
    """Return the node's endpoints; none of a node that is not heard."""
    return view.last.heartbeat.facts.endpoints if view.last is not None else ()


def _names(place: ModelPlace, views: Sequence[NodeView]) -> set[str]:
    """Return the names of a model, also without an ending that its server does not need: `:latest` of Ollama,
    `.gguf` of llama.cpp.
    """
    found = fact_of(place, views)
    short = place.model.removesuffix(":latest").removesuffix(".gguf")
    same = found is not None and found[0].model(short) == found[1]
    models = {place.model, short} if same else {place.model}
    return {
        f"{head}{model}"
        for head in ("", f"{place.endpoint}/", f"{place.node}/{place.endpoint}/")
        for model in models
    }
