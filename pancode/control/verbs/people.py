"""Verbs that let a person steer runs: continue one."""

from __future__ import annotations

from pancode.control.core import Core
from pancode.control.dispatch import Dispatched
from pancode.control.faces import Surroundings
from pancode.control.people.continuing import continue_run
from pancode.domain.records import Run


class PeopleVerbs:
    def __init__(self, core: Core) -> None:
        self._core = core

    def continue_run(self, around: Surroundings, old: Run, text: str, by: str) -> Dispatched:
        """Dispatch a new run that goes on from the result of an old one."""
        return continue_run(self._core, around, old, text, by)
