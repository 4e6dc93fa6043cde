"""Landings without git."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pancode.fleet.part import CoordinatorPart
from pancode.git.forge_rules import ForgeKind
from pancode.kernel.errors import PancodeError, WorkspaceError
from pancode.kernel.records import Run
from pancode.landing.answers import LandingRow, PullRequestShape
from pancode.landing.git.change_store import DepotCode
from pancode.landing.pull_request import PullAsked
from pancode.runs.answers import CalledOffRow, QueuedAnswer
from pancode.runs.request import LandWay


class MemoryLandings(DepotCode):
    """Landings that are done at once."""

    def __init__(self) -> None:
        self.ways: list[LandWay] = []
        self.pulls: list[tuple[str, PullAsked]] = []
        self.forge_error: PancodeError | None = None
        self.told_of_landings = ""

    def land(self, run: Run, asked: LandWay, wait: bool = True) -> dict[str, Any]:
        self.ways.append(asked)
        if not wait:
            return {"status": "waiting", "place": 2}
        if run.landed == "conflict":
            raise WorkspaceError("a conflict in a.txt", why="changed here and by the run", fix="look")
        told: dict[str, Any] = {"conflicts": [], "gate": None, "recovered": None}
        where = {"tree": "/home/ana/project", "branch": "main"}
        return {"status": "landed", "commit": "c" * 40, "files": ["a.txt"], **where, **told}

    def resolve(self, around: object, run: Run, asked: LandWay) -> QueuedAnswer:
        told = {"run": "r-0002", "state": "pending", "reason": "queued", "agent": "builder"}
        return cast("QueuedAnswer", {**told, "chosen": "", "warnings": []})

    def landings(self, before_run: Run | None = None) -> list[LandingRow]:
        return []

    def look_for_reverts(self) -> dict[str, str]:
        return {}

    def call_off(self, run: Run) -> list[CalledOffRow]:
        return []

    def describe_landing(self, run: Run) -> str:
        return self.told_of_landings

    def check_pull(self, run: Run, remote: str, kind: ForgeKind | None, follow: bool) -> None:
        if self.forge_error is not None:
            raise self.forge_error

    def pull_request(
        self, run: Run, request: PullAsked, parts: Sequence[CoordinatorPart]
    ) -> PullRequestShape:
        self.pulls.append((run.id, request))
        if self.forge_error is not None:
            raise self.forge_error
        where = {
            "url": "https://git.example.org/o/r/pulls/7",
            "forge": "forgejo",
            "repository": "git.example.org/o/r",
            "branch": request.branch,
        }
        return cast("PullRequestShape", {"run": run.id, "number": 7, "base": "main", "fresh": True, **where})
