"""Verbs of models: list model servers and models, test a model on its node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pancode.agents.passports import ModelPlace
from pancode.agents.tiers import ModelTier
from pancode.control.core import Core
from pancode.control.faces import Json, Progress, ProgressLine
from pancode.control.shapes import ExamShape, ModelShape
from pancode.fleet import exams, fleet, models


class ModelVerbs:
    def __init__(self, core: Core) -> None:
        self._core = core

    def endpoints(self, node: str | None) -> list[Json]:
        """Every model server that nodes have found, or that one node has. NotFoundError."""
        return models.endpoints(self._core, node)

    def known(
        self, node: str | None, tier: str | None, tiers: Mapping[str, ModelTier]
    ) -> dict[str, list[ModelShape]]:
        """Every model of these servers, or those of one node or tier. NotFoundError, UsageError."""
        return models.models(self._core, models.ModelFilter(node, tier), tiers)

    def places(self, model: str, node: str | None) -> list[ModelPlace]:
        """The endpoints of a model; `node`: only there. NotFoundError."""
        if node is not None:
            with self._core.ports.ledger.transaction() as tx:
                fleet.known_node(tx, node)
        return exams.where(self._core, model, node)

    def test(
        self,
        place: ModelPlace,
        again: bool,
        progress: Progress,
        act: Callable[[], None],
        pause: Callable[[float], bool],
    ) -> ExamShape:
        """Have a node test a model and wait for the end. `act`: says it to the node at once.

        `pause` sleeps; it returns True when the coordinator ends, then UnavailableError.
        """
        progress(ProgressLine(place.node, place.model, "started", exams.begun(self._core, place)))
        try:
            request = exams.ask(self._core, place, again)
            act()
            return exams.follow(self._core, request, progress, pause)
        except exams.NotTested as error:  # the other places are tested all the same
            return exams.given_up(place, error)
