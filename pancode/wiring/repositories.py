"""Implements the port of landings (pancode.code.landing.ports) on git and the depot."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pancode.code.git.compose import conflict_state, unsettled
from pancode.code.git.depot import Depot
from pancode.code.git.landing.land import land
from pancode.code.git.landing.land_branch import land_on_branch
from pancode.code.git.landing.session import LandingSession
from pancode.code.git.merge import commit_of, offer
from pancode.core.values import replace
from pancode.life.land_values import (
    CalledOff,
    Conflict,
    ConflictState,
    Gates,
    LandReport,
    LandRequest,
    OnBranch,
)


class DepotRepositories:
    """Users' repositories, as the coordinator's own user may read and write them."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot
        self._sessions: dict[str, LandingSession] = {}

    def into_files(self, project: str, request: LandRequest, gates: Gates, off: CalledOff) -> LandReport:
        return land(Path(project), self._depot, _here(request), gates, called_off=off)

    def onto_branch(
        self, project: str, request: LandRequest, target: OnBranch, gates: Gates, off: CalledOff
    ) -> LandReport:
        repo = request.repo_id
        if repo not in self._sessions:  # one of a repository lands after the other
            self._sessions[repo] = LandingSession(self._depot, repo)
        here, session = _here(request), self._sessions[repo]
        return land_on_branch(Path(project), self._depot, here, target, gates, off, session)

    def conflict(self, project: str, request: LandRequest, branch: str) -> ConflictState:
        return conflict_state(Path(project), self._depot, _here(request), branch)

    def unsettled(self, repo: str, marked: str, result: str, files: Iterable[str]) -> tuple[Conflict, ...]:
        return unsettled(self._depot, repo, marked, result, files)

    def commit_of(self, repo: str, tree: str, base: str | None) -> str:
        return commit_of(self._depot, repo, tree, base)

    def offer(self, repo: str, run: str, commit: str, base: str | None) -> None:
        offer(self._depot, repo, run, commit, base)


def _here(request: LandRequest) -> LandRequest:
    return replace(request, environ=dict(os.environ))
