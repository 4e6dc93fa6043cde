"""Decides from a local model's test result (its passport) whether the model may get work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from node_agent.wire.endpoint import EndpointFact, Grade, Health, ModelFact, PassportFact
from pancode.kernel.errors import NotFoundError, RefusedError
from pancode.kernel.names import not_found
from pancode.kernel.node import NodeView

NOT_TESTED = "has not been tested"
COSTS = "its test costs money that no budget covers"
MODEL_UNTESTED, COSTLY_TEST = "model_untested", "costly_test"
"""Codes of refusals that a test resolves: a free test, and one that a user has to request."""


class Trust(StrEnum):
    """What a passport means for the use of the model."""

    GOOD = "good"
    FAILED = "failed"
    UNTESTED = "untested"


@dataclass(frozen=True, slots=True)
class Trusted:
    """A verdict on a model. `words`, `fix`: of the first failed check; else `words`: the unknown checks."""

    trust: Trust
    words: str = ""
    fix: str = ""


def judge_passport(passport: PassportFact | None) -> Trusted:
    """Return the verdict on a model. An unknown check is reported, but blocks nothing."""
    if passport is None:
        return Trusted(Trust.UNTESTED, NOT_TESTED)
    failed = next((one for one in passport.checks if one.grade is Grade.FAILED), None)
    if failed is not None:
        return Trusted(Trust.FAILED, f"{failed.check}: {failed.words}", failed.fix)
    unknown = [f"{one.check}: {one.words}" for one in passport.checks if one.grade is Grade.UNKNOWN]
    return Trusted(Trust.GOOD, "; ".join(unknown))


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """A model on a server of a node."""

    node: str
    endpoint: str
    model: str

    @property
    def text(self) -> str:
        """The model in the form that `--model` takes."""
        return f"{self.node}/{self.endpoint}/{self.model}"


@dataclass(frozen=True, slots=True)
class Needs:
    """A run's model and endpoint."""

    endpoint: str
    model: str

    def at(self, node: str) -> ModelPlace:
        return ModelPlace(node, self.endpoint, self.model)


def trust_of(view: NodeView, needs: Needs) -> Trusted | None:
    """Return the trust in the model on that node; None if the node does not report the model."""
    found = fact_of(needs.at(view.node.name), (view,))
    return None if found is None else judge_passport(found[1].passport)


def describe_failure(model: str, trusted: Trusted) -> str:
    return f"model {model} did not pass its test: {trusted.words}"


def untested_error(place: ModelPlace, costs: bool) -> RefusedError:
    """Return the refusal of a dispatch that needs a test first; the command line runs it and tries again. If
    the test costs money, the command line does not run it, since no budget covers it."""
    words = f"Dispatch blocked: model {place.model} {NOT_TESTED} on {place.node}"
    why = f"a test is needed to find the limits of a local model ({place.endpoint})"
    return RefusedError(
        f"{words}, and {COSTS}" if costs else words,
        why=why,
        fix=f"pancode models test {place.text}; or dispatch with --untested",
        code=COSTLY_TEST if costs else MODEL_UNTESTED,
        details={"node": place.node, "endpoint": place.endpoint, "model": place.model},
    )


def every_place(views: Sequence[NodeView]) -> list[ModelPlace]:
    """Return every model, except embedding models, of every node that has reported."""
    return [
        ModelPlace(view.node.name, endpoint.name, model.id)
        for view in sorted(views, key=lambda one: one.node.name)
        for endpoint in endpoints_of(view)
        for model in endpoint.models
        if not model.embedding
    ]


def places_of(text: str, views: Sequence[NodeView], node: str | None = None) -> list[ModelPlace]:
    """Return the places of MODEL, ENDPOINT/MODEL or NODE/ENDPOINT/MODEL. Raises NotFoundError."""
    there = [one for one in every_place(views) if node in (None, one.node)]
    found = [one for one in there if text in _list_names(one, views)]
    if not found:
        names = {
            name for one in there for name in _list_names(one, views) if not name.startswith(f"{one.node}/")
        }
        where = f"pancode models --node {node}" if node is not None else "pancode models"
        raise _not_there(not_found("model", text, names, where), views, node)
    return found


def _not_there(error: NotFoundError, views: Sequence[NodeView], node: str | None) -> NotFoundError:
    """Return the error with a sentence added that names the servers whose models cannot be listed."""
    silent = [
        f"{view.node.name}/{one.name}"
        for view in views
        for one in endpoints_of(view)
        if node in (None, view.node.name) and one.health is not Health.OK and not one.models
    ]
    if not silent:
        return error
    words = f"{error.why}; the models of {', '.join(silent)} cannot be listed"
    return NotFoundError(
        str(error), why=words, fix=f"{error.fix}; check with: pancode models ls --servers", code=error.code
    )


def fact_of(place: ModelPlace, views: Sequence[NodeView]) -> tuple[EndpointFact, ModelFact] | None:
    """Return the endpoint and model as the node reports them now; None if it does not."""
    view = next((one for one in views if one.node.name == place.node), None)
    for endpoint in endpoints_of(view) if view is not None else ():
        model = endpoint.model(place.model) if endpoint.name == place.endpoint else None
        if model is not None:
            return endpoint, model
    return None


def endpoints_of(view: NodeView) -> tuple[EndpointFact, ...]:
    """Return the node's endpoints; empty if it has not reported."""
    return view.last.heartbeat.facts.endpoints if view.last is not None else ()


def _list_names(place: ModelPlace, views: Sequence[NodeView]) -> set[str]:
    """Return a model's names, also without a suffix that its server does not need (`:latest`, `.gguf`)."""
    found = fact_of(place, views)
    short = place.model.removesuffix(":latest").removesuffix(".gguf")
    same = found is not None and found[0].model(short) == found[1]
    models = {place.model, short} if same else {place.model}
    return {
        f"{head}{model}"
        for head in ("", f"{place.endpoint}/", f"{place.node}/{place.endpoint}/")
        for model in models
    }
