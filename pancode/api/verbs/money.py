"""Verbs of money: ceilings, the books as a person reads them, the cost of work, the workers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from pancode.control import money
from pancode.control.core import Core
from pancode.control.faces import Surroundings
from pancode.control.shapes import (
    BriefShape,
    BudgetShape,
    CostTable,
    ReportShape,
    TrackRecordRow,
    WorkerShape,
)
from pancode.core import books
from pancode.core.records import Setting
from pancode.reports.brief import LOOKED, brief
from pancode.reports.cost import cost, cost_tables
from pancode.reports.money import Configured, budget
from pancode.reports.track_records import track_records
from pancode.reports.workers import workers
from pancode.runs.runs import moment_ms
from pancode.work.people.answering import items

MOST_SHOWN = 100


class MoneyVerbs:
    """A scope is `day`, `week`, `month`, `node:NAME`, `agent:NAME` or `repo:PATH`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def set_ceilings(self, scope: str, ceilings: books.Ceilings, by: str) -> None:
        """Change the ceilings that are given: USD, tokens, time of agents."""
        with self._core.lock:
            money.set_ceilings(self._core, scope, ceilings, by)

    def unset_ceiling(self, scope: str, by: str) -> None:
        """The configured ceiling counts again; NotFoundError when none was set."""
        with self._core.lock:
            money.unset_ceiling(self._core, scope, by)

    def settle_by_hand(self, run: str, usd: Decimal, by: str) -> int:
        """Book the cost of a run whose cost was unknown; how many attempts were settled."""
        with self._core.lock:
            return money.settle_by_hand(self._core, run, usd, by)

    def budget(self, around: Surroundings, everything: bool) -> BudgetShape:
        """Ceilings, spending and holds of today; `everything`: on past days, too."""
        (row,) = (row for row in around.origins(None) if row["key"] == "budget.ceiling")
        estimate = around.defaults(None).estimate_usd
        return budget(self._core, Configured(Decimal(row["value"]), row["origin"], estimate), everything)

    def cost(self, by: str, since: str | None, limit: int, only: Mapping[str, str]) -> CostTable:
        """The cost of runs by one property. NotFoundError for an unknown property, UsageError for a time.

        `only`: of runs with this agent, node and repository.
        """
        return cost(self._core, by, 0 if since is None else self._moment(since), limit, only)

    def workers(self) -> list[WorkerShape]:
        """Each agent on each runtime and node: what it does now, and its record."""
        return workers(self._core)

    def track_records(self, agent: str | None, rankings: bool, limit: int) -> list[TrackRecordRow]:
        """Track records of agents by kind of work; `rankings`: by agent, model and runtime alone."""
        return track_records(self._core, agent, rankings, limit)

    def brief(self, by: str, since: str | None) -> BriefShape:
        """The brief since that time, or (None) since the person's last look. UsageError for a time."""
        return brief(self._core, items(self._core), by, None if since is None else self._moment(since))

    def looked(self, by: str) -> None:
        """The person has looked now."""
        with self._core.lock, self._core.ports.ledger.transaction() as tx:
            tx.put(Setting(f"{LOOKED}{by}", self._core.wall_ms(), self._core.wall_ms(), by))

    def report(self, by: str, since: str) -> ReportShape:
        """A brief of a longer time, with the cost of each day and each repository."""
        since_ms = self._moment(since)
        asked = ("day", "repository", "agent")
        days, repositories, agents = cost_tables(self._core, asked, since_ms, MOST_SHOWN)
        summary = brief(self._core, items(self._core), by, since_ms, agents)
        return {"brief": summary, "by_day": days["rows"], "by_repository": repositories["rows"]}

    def _moment(self, text: str) -> int:
        return max(0, moment_ms(text, self._core.wall_ms()))
