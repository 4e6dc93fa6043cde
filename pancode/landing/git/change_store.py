"""The changes of runs: lands in order and cancels them, and opens their pull requests."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from node_agent.policy.deciding import FileTree
from pancode.fleet.part import CoordinatorPart
from pancode.git.base_tree import conflict_state, find_unsettled
from pancode.git.depot import Depot
from pancode.git.forge_rules import ForgeKind
from pancode.git.landings import CalledOff, Conflict, ConflictState, Gates, LandReport, LandRequest, OnBranch
from pancode.git.merge import commit_of, publish_snapshot
from pancode.git.objects import TreeFiles
from pancode.git.pull_state import PullOpened
from pancode.git.tree.branch_landing import LandingSession, land_on_branch
from pancode.git.tree.tree_landing import land
from pancode.kernel.records import Run
from pancode.kernel.states import IdentityVariable
from pancode.kernel.values import replace
from pancode.landing.answers import LandingRow, PullRequestShape
from pancode.landing.git.reverts import RevertLook
from pancode.landing.pull_request import Forges, PullAsked, must_be_possible, open_pull_request
from pancode.landing.queue import LandingQueue, landing_rows, list_before, report_of
from pancode.landing.service import Lander, resolve_conflict
from pancode.runs.answers import CalledOffRow, QueuedAnswer
from pancode.runs.core import Core
from pancode.runs.dispatch import describe_queued
from pancode.runs.request import LandWay
from pancode.runs.user_environment import Surroundings


class DepotCode(CoordinatorPart):
    """Code that runs produced, in the coordinator's depot. WorkspaceError if an action is not possible."""

    def __init__(self, depot: Depot, core: Core, around: Surroundings, forges: Forges) -> None:
        """`around`: the user's current settings, which say whether changes land by themselves."""
        self._depot, self._core, self._forges = depot, core, forges
        self._lander = Lander(core, DepotRepositories(depot), around.prd_for_agents)
        self.queue = LandingQueue(
            core, self._lander.land, self._lander.cut_short, lambda: around.defaults(None).landings_held
        )
        self.threads = (self.queue,)
        self._reverts = RevertLook(core, depot)

    def land(self, run: Run, way: LandWay, wait: bool = True) -> dict[str, Any]:
        """Merge the run's change into the user's tree or a branch, after earlier landings of the repository.

        Return `{"status", "files", "gate", "recovered"}`, and `"tree"` and `"branch"`. With `wait` False,
        return `{"status": "waiting", "place"}`.
        """
        action = self.queue.ask(run, way)
        if not wait:
            return {"status": "waiting", "place": self.queue.place(action)}
        report = report_of(self.queue.ended(action))
        if not way.branch:  # otherwise HEAD is where it was
            self._reverts.look(str(run.project))
        return report

    def resolve(self, around: Surroundings, run: Run, way: LandWay) -> QueuedAnswer:
        """Dispatch a run that resolves this run's conflict and then lands; return the answer of the dispatch.
        Raises UsageError if there is no conflict."""
        return describe_queued(resolve_conflict(self._core, self._lander, around, run, way))

    def landings(self, before_run: Run | None = None) -> list[LandingRow]:
        """Return the waiting and current landings in order, or only those before this run's landing."""
        core, now = self._core, self.queue.under_way()
        return landing_rows(core, now) if before_run is None else list_before(core, before_run, now)

    def look_for_reverts(self) -> dict[str, str]:
        """Find and record commits that reverted landed changes; return these commits by run."""
        return self._reverts.look()

    def call_off(self, run: Run) -> list[CalledOffRow]:
        """Cancel this run's landings, and return how each ended; empty if there were none. `queued` is true
        for a landing that had not begun."""
        return self._lander.call_off(run)

    def check_pull(self, run: Run, remote: str, kind: ForgeKind | None, follow: bool) -> None:
        """Raise the errors of a pull request that can be known before landing."""
        must_be_possible(self._forges, run, remote, kind, follow)

    def pull_request(
        self, run: Run, request: PullAsked, parts: Sequence[CoordinatorPart]
    ) -> PullRequestShape:
        """Open a pull request for a landed run, or return the open one; the other `parts` say what it closes,
        and note it. Raises the forge's errors."""
        closes = " ".join(filter(None, (part.closed_by_pull(run) for part in parts)))
        opened = open_pull_request(self._core, self._forges, run, replace(request, closes=closes))
        pull = PullOpened(
            opened["forge"], opened["repository"], opened["number"], opened["url"], request.remote,
            request.branch, request.by, request.follow,
        )  # fmt: skip
        for part in parts:
            part.note_pull(run, pull)
        return opened


class DepotRepositories:
    """Implements pancode.git.landings.Repositories, as the coordinator's own user."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot
        self._sessions: dict[str, LandingSession] = {}

    def into_files(self, project: str, request: LandRequest, gates: Gates, off: CalledOff) -> LandReport:
        return land(Path(project), self._depot, _set_environ(request), gates, called_off=off)

    def onto_branch(
        self, project: str, request: LandRequest, target: OnBranch, gates: Gates, off: CalledOff
    ) -> LandReport:
        repo = request.repo_id
        if repo not in self._sessions:  # landings of the same repository run one after the other
            self._sessions[repo] = LandingSession(self._depot, repo)
        here, session = _set_environ(request), self._sessions[repo]
        return land_on_branch(Path(project), self._depot, here, target, gates, off, session)

    def conflict(self, project: str, request: LandRequest, branch: str) -> ConflictState:
        return conflict_state(Path(project), self._depot, _set_environ(request), branch)

    def unsettled(self, repo: str, marked: str, result: str, files: Iterable[str]) -> tuple[Conflict, ...]:
        return find_unsettled(self._depot, repo, marked, result, files)

    def commit_of(self, repo: str, tree: str, base: str | None) -> str:
        return commit_of(self._depot, repo, tree, base)

    def files_of(self, repo: str, tree: str) -> FileTree:
        return TreeFiles(self._depot.git(repo), tree)

    def offer(self, repo: str, run: str, commit: str, base: str | None) -> None:
        publish_snapshot(self._depot, repo, run, commit, base)


def _set_environ(request: LandRequest) -> LandRequest:
    # The variables of the terminal that started the coordinator say nothing of who lands.
    own = {name: value for name, value in os.environ.items() if name not in list(IdentityVariable)}
    return replace(request, environ=own | dict(request.author))
