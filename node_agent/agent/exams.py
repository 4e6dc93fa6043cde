"""The port through which the node agent has models tested, and a tester that tests none."""

from __future__ import annotations

from typing import Protocol

from node_agent.wire.control import Examine
from node_agent.wire.endpoint import AskFact, AskState, EndpointFact


class Exams(Protocol):
    """Tests models beside the node's work. No call waits for a model, or raises."""

    def examine(self, ask: Examine) -> None:
        """Test it, as soon as the endpoint is free. The same ask again: no effect. A restart forgets it."""

    def asks(self) -> tuple[AskFact, ...]:
        """Those under way, and those that have ended a short while ago."""

    def stamped(self, endpoints: tuple[EndpointFact, ...]) -> tuple[EndpointFact, ...]:
        """Each model with its passport, if it has one as it is now."""

    def news(self) -> bool:
        """Check whether an ask has begun or ended since this was asked last."""


class NoExams:
    """For a node agent that reaches no model server: simulations. It says so to whoever asks."""

    def __init__(self) -> None:
        self._asks: tuple[AskFact, ...] = ()

    def examine(self, ask: Examine) -> None:
        words = "this node agent reaches no model server"
        state = AskState.GIVEN_UP
        fact = AskFact(ask=ask.ask, endpoint=ask.endpoint, model=ask.model, state=state, words=words)
        self._asks = (*self._asks[-7:], fact)

    def asks(self) -> tuple[AskFact, ...]:
        return self._asks

    def stamped(self, endpoints: tuple[EndpointFact, ...]) -> tuple[EndpointFact, ...]:
        return endpoints

    def news(self) -> bool:
        return False
