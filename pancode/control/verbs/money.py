"""Verbs of money: ceilings, the books as a person reads them, a cost that a person names."""

from __future__ import annotations

from decimal import Decimal

from pancode.control import money
from pancode.control.core import Core
from pancode.control.faces import Surroundings
from pancode.control.query.money import Configured, budget
from pancode.control.query.shapes import BudgetShape
from pancode.domain import books


class MoneyVerbs:
    """A scope is `day`, `node:NAME` or `agent:NAME`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def set_ceilings(self, scope: str, said: books.Ceilings, by: str) -> None:
        """Change the ceilings that are given: USD, tokens, time of agents."""
        with self._core.lock:
            money.set_ceilings(self._core, scope, said, by)

    def unset_ceiling(self, scope: str, by: str) -> None:
        """The configured ceiling counts again; NotFoundError when none was set."""
        with self._core.lock:
            money.unset_ceiling(self._core, scope, by)

    def settle_by_hand(self, run: str, usd: Decimal, by: str) -> int:
        """Book the cost of a run whose cost was unknown; how many attempts were settled."""
        with self._core.lock:
            return money.settle_by_hand(self._core, run, usd, by)

    def budget(self, around: Surroundings, everything: bool) -> BudgetShape:
        """What may be spent, was spent and is held today; `everything`: on past days, too."""
        (row,) = (row for row in around.origins(None) if row["key"] == "budget.ceiling")
        estimate = around.defaults(None).estimate_usd
        return budget(self._core, Configured(Decimal(row["value"]), row["origin"], estimate), everything)
