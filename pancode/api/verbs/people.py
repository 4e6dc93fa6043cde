"""Verbs that let a person steer runs: continue one, answer, approve, deny, look through, drop."""

from __future__ import annotations

from collections.abc import Iterable

from pancode.code.landing import listing
from pancode.control.core import Core
from pancode.control.faces import Surroundings
from pancode.control.shapes import InboxShape, RunShape
from pancode.core.records import Run
from pancode.dispatch.dispatch import Dispatched
from pancode.life.signals import CallDecided
from pancode.work.people import answering
from pancode.work.people.continuing import continue_run


class PeopleVerbs:
    def __init__(self, core: Core) -> None:
        self._core = core

    def continue_run(self, around: Surroundings, old: Run, text: str, by: str) -> Dispatched:
        """Dispatch a new run that goes on from the result of an old one."""
        return continue_run(self._core, around, old, text, by)

    def inbox(self) -> list[InboxShape]:
        """Everything that waits for a person, oldest first."""
        return answering.items(self._core)

    def answer(self, around: Surroundings, old: Run, text: str, by: str, program: str) -> Dispatched:
        """Continue a blocked run with the answer to its question. UsageError; RefusedError when too late."""
        return answering.answer(self._core, around, old, text, by, program)

    def must_be_approvable(self, run: Run, yes: Iterable[str]) -> None:
        """UsageError where nothing waits for an approval; RefusedError where it needs another yes."""
        answering.must_be_approvable(self._core, run, yes)

    def may_start(self, run: Run) -> bool:
        """Whether an approval starts it."""
        return answering.may_start(self._core, run)

    def start(self, run: str, by: str, whole: bool) -> Run:
        """Approve a run before it begins; `whole`: the same for later attempts. RefusedError, UsageError."""
        return answering.start(self._core, run, by, whole)

    def permit(self, around: Surroundings, old: Run, by: str, whole: bool) -> Dispatched:
        """Continue a run that had to be permitted something. UsageError; RefusedError when too late."""
        return answering.permit(self._core, around, old, by, whole)

    def still_waits(self, run: Run) -> bool:
        """Whether nobody has answered, approved or denied it yet."""
        return answering.still_waits(self._core, run)

    def deny(self, run: str, by: str) -> Run:
        """Say no to what a run waits for. UsageError where nothing waits."""
        return answering.deny(self._core, run, by)

    def waits_for_call(self, run: Run) -> bool:
        """Whether a call of its working agent waits for a person."""
        return answering.waits_for_call(self._core, run)

    def decide_call(self, run: str, decision: CallDecided) -> Run:
        """Answer a call that waits. UsageError where none does; RefusedError where another one does."""
        return answering.decide_call(self._core, run, decision)

    def tell(self, run: str, text: str, by: str) -> Run:
        """Give a run words, with its task or when it is continued. UsageError for one that takes none."""
        return answering.tell(self._core, run, text, by)

    def green(self, project: str) -> list[RunShape]:
        """The runs of a repository that `land --all-green` lands, oldest first."""
        return listing.green(self._core, project)

    def to_review(self, project: str | None) -> list[RunShape]:
        """The runs of a repository whose changes nobody has decided on, oldest first; None: of every one."""
        return listing.to_review(self._core, project)

    def drop(self, run_id: str, by: str) -> None:
        """Decide that its change is not wanted. Idempotent. WorkspaceError before its end."""
        listing.drop(self._core, run_id, by)
