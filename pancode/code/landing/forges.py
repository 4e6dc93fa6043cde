"""Opens the pull request of a run that has landed on a branch, or finds the one that is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pancode.code.landing.forge import ForgeAccess, ForgeKind, ForgePlace, place_of, repository_of
from pancode.code.landing.pull_request import OpenedPull, PullAsked, PullRequest, pull_request
from pancode.control.core import Core
from pancode.control.run import usage_of, usage_of_run
from pancode.control.shapes import PullRequestShape
from pancode.control.work import unit_of_work
from pancode.core.records import Run
from pancode.errors import WorkspaceError
from pancode.life.landing import NOTHING
from pancode.plain import usd


class Forges(Protocol):
    """Forges, and the user's settings of them. Each call may take some seconds and cannot be called off."""

    def hosts(self) -> Mapping[str, ForgeAccess]:
        """As the files say now. ConfigError."""

    def remote(self, project: str, name: str) -> str:
        """The address to which this repository pushes. NotFoundError for what is no remote's name."""

    def check(self, place: ForgePlace) -> None:
        """ConfigError or NotFoundError where its token is not there, with the command that keeps one."""

    def open(self, place: ForgePlace, wanted: PullRequest) -> OpenedPull:
        """Idempotent: one of this branch that is open is the answer.

        ConfigError, RefusedError, NotFoundError, UnavailableError: as the forge has answered, with the fix.
        """


def must_be_possible(forges: Forges, run: Run, remote: str, kind: ForgeKind | None) -> ForgePlace:
    """Where a pull request of this run would be opened. The errors that are known before anything is done:
    no such remote, an unknown forge, no token."""
    place = place_of(repository_of(forges.remote(run.project or "", remote)), forges.hosts(), kind)
    forges.check(place)
    return place


def open_pull_request(core: Core, forges: Forges, run: Run, asked: PullAsked) -> PullRequestShape:
    """WorkspaceError for a run that has not landed; the errors of `Forges`. No lock is held meanwhile."""
    if run.project is None or (run.landed is None and run.landing.get("status") != NOTHING):
        fix = f"pancode land {run.id} --push {asked.remote} {asked.branch} --pull-request"
        raise WorkspaceError(f"{run.id} has not landed", why=run.reason, fix=fix, code="not_landed")
    place = must_be_possible(forges, run, asked.remote, asked.kind)
    with core.ports.ledger.transaction() as tx:
        usage = usage_of(usage_of_run(tx, run) or {})
    cost = f"{usd(usage['cost_usd'])} ({usage['cost_source']})" if usage["cost_usd"] else "unknown"
    opened = forges.open(place, pull_request(run, asked, cost))
    if opened.fresh:
        with unit_of_work(core) as work:
            work.tell(run.id, "land", f"pull request {opened.url}", "opened", asked.by)
            work.audit("land", "info", "pull request opened", run.id, by=asked.by, url=opened.url)
    return {
        "run": run.id,
        "url": opened.url,
        "number": opened.number,
        "forge": place.kind.value,
        "branch": asked.branch,
        "base": opened.base,
        "fresh": opened.fresh,
    }
