"""Verbs about the caller: which run asks, and the refusal of a request that only a person may make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from node_agent.wire.identity import AttemptId
from pancode.control.core import Core
from pancode.control.inside import refuse, run_of
from pancode.domain.records import Run


class CallerVerbs:
    def __init__(self, core: Core) -> None:
        self._core = core

    def run_of(self, attempts: Sequence[AttemptId]) -> Run | None:
        """The run to which these attempts belong, the outermost last; None: none is of this fleet."""
        return run_of(self._core.ports.ledger, attempts)

    def refuse(self, run: Run, verb: str) -> NoReturn:
        """Record that a run asked for something that only a person may ask; raises InsideRunError."""
        refuse(self._core, run, verb)
