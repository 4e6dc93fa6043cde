"""Starts work automatically on issues with the project's label, from users who may start work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from pancode.issues.model import OVER, Issue, IssueState, Trackers, must_name_accounts, place_of
from pancode.issues.service import is_begun, start_work
from pancode.kernel.errors import PancodeError, with_fix
from pancode.kernel.names import TRACKER
from pancode.kernel.threads import PeriodicThread
from pancode.runs.core import Core
from pancode.runs.project_rules import NamedProject
from pancode.runs.request import request_from
from pancode.runs.restored.hold import list_held
from pancode.runs.user_environment import Surroundings

log = logging.getLogger("pancode.trackers")
LOOK_S = 120.0
HELD_NAME = "issue:new"
"""The name of this watch in the hold of a restored ledger."""
MOST_OPEN, MOST_AT_ONCE = 100, 3
"""The most open labelled issues to check, and to start per check; a flood of them may be a mistake."""


def may_begin(issue: Issue, project: NamedProject) -> bool:
    """Whether the issue's state, label and users allow work to start; its untrusted text does not count."""
    people = {one.lower() for one in project.work_people}
    of = issue.accounts if issue.accounts is not None else issue.assignees or (issue.author,)
    labels = {one.lower() for one in issue.labels}
    mine = bool(project.work_label) and project.work_label.lower() in labels
    return mine and issue.state is IssueState.OPEN and any(one.lower() in people for one in of)


class IssueWatch(PeriodicThread):
    """A thread that checks projects' trackers for labelled issues, and starts work on each at most once."""

    def __init__(
        self, core: Core, around: Callable[[], Surroundings], trackers: Trackers, look_s: float = LOOK_S
    ) -> None:
        super().__init__("issues", look_s)
        self._core, self._around, self._trackers = core, around, trackers
        self._told: dict[str, str] = {}
        """The last problem of each project or issue, so that the same problem is logged once."""

    def look(self) -> None:
        """Check each tracker once, unless this is held since a restore."""
        with self._core.ports.ledger.transaction() as tx:
            if HELD_NAME in list_held(tx):
                return
        around = self._around()
        for project in around.projects().values():
            if project.tracker and project.work_label and project.work_people:
                self._check_project(around, project)

    def _check_project(self, around: Surroundings, project: NamedProject) -> None:
        try:
            must_name_accounts(project)
            found = self._trackers.issues(place_of(project), project.prefix, MOST_OPEN, project.work_label)
        except PancodeError as error:
            self._log_trouble(project.name, error)
            return
        self._told.pop(project.name, None)
        for issue in self._select_new(found, project):
            try:
                start_work(self._core, around, project, issue, request_from({}, TRACKER))
            # the reason may be a budget ceiling, for example; the next check tries again
            except PancodeError as error:
                self._log_trouble(issue.ref, error)
            except Exception:
                log.exception("work on issue %s could not be started", issue.ref)
            else:
                self._told.pop(issue.ref, None)

    def _select_new(self, found: Iterable[Issue], project: NamedProject) -> list[Issue]:
        with self._core.ports.ledger.transaction() as tx:
            fresh = [one for one in found if not is_begun(self._core, tx, one.ref.lower())]
        return [one for one in fresh if one.state not in OVER and may_begin(one, project)][:MOST_AT_ONCE]

    def _log_trouble(self, about: str, error: PancodeError) -> None:
        if self._told.get(about) != error.words:
            self._told[about] = error.words
            log.warning("%s: %s", about, with_fix(error.words, error.fix))
