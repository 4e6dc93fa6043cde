"""Replaces the tests of models where no model server is reached."""

from __future__ import annotations

from node_agent.wire.control import Examine
from node_agent.wire.endpoint import AskFact, AskState, EndpointFact


class NoExams:
    """Each test fails, because no model server is reached."""

    def __init__(self) -> None:
        self._asks: tuple[AskFact, ...] = ()

    def examine(self, request: Examine) -> None:
        words = "this node agent reaches no model server"
        state = AskState.GIVEN_UP
        fact = AskFact(
            ask=request.ask, endpoint=request.endpoint, model=request.model, state=state, words=words
        )
        self._asks = (*self._asks[-7:], fact)

    def asks(self) -> tuple[AskFact, ...]:
        return self._asks

    def stamped(self, endpoints: tuple[EndpointFact, ...]) -> tuple[EndpointFact, ...]:
        return endpoints

    def news(self) -> bool:
        return False
