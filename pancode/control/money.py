"""What a person says about money: ceilings, and the cost of attempts that nobody could tell."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from pancode.control.core import Core
from pancode.domain import books
from pancode.domain.records import Attempt, Entry, Run, Setting
from pancode.errors import NotFoundError, UsageError


def set_ceiling(core: Core, scope: str, usd: Decimal, by: str) -> None:
    """The ceiling of `day`, `node:NAME` or `agent:NAME`; what is spent already stays spent."""
    if usd < 0:
        raise UsageError("a ceiling cannot be negative", fix="pancode budget set 10")
    with core.ports.ledger.transaction() as tx:
        old = core.ceiling(tx, scope if ":" in scope else f"{scope}:")
        tx.put(Setting(f"ceiling:{scope}", f"{usd:f}", core.wall_ms(), by))
        core.audit(tx, "budget", "info", "ceiling set", scope=scope, old=_text(old), new=f"{usd:f}", by=by)


def unset_ceiling(core: Core, scope: str, by: str) -> None:
    """What was set by hand counts no more: the configured ceiling does, or none. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        found = tx.get(Setting, f"ceiling:{scope}")
        if found is None:
            raise NotFoundError(f"no ceiling was set for {scope}", fix="pancode budget show")
        tx.delete(Setting, found.name)
        core.audit(tx, "budget", "info", "ceiling unset", scope=scope, old=str(found.value), by=by)


def settle_by_hand(core: Core, run_id: str, usd: Decimal, by: str) -> int:
    """Book what a run with an unknown cost really cost; returns how many attempts were settled."""
    if usd < 0:
        raise UsageError("a cost cannot be negative")
    with core.ports.ledger.transaction() as tx:
        run = tx.get(Run, run_id)
        if run is None:
            raise NotFoundError(f"no run {run_id}", fix="pancode runs")
        settled = 0
        entries = tx.find(Entry, {"run": run_id})
        for attempt in tx.find(Attempt, {"run": run_id}):
            account = books.Account(run_id, attempt.attempt)
            made = books.settle_unknown(entries, account, books.Spent(usd, source="settled"), core.stamp())
            if made:
                core.book(tx, made)
                usage = {**attempt.usage, "cost_usd": f"{usd:f}", "cost_source": "settled"}
                tx.put(replace(attempt, usage=usage))
                settled += 1
                usd = Decimal(0)
        if not settled:
            raise UsageError(f"the cost of {run_id} is not unknown", fix=f"pancode runs show {run_id}")
        core.tell(tx, run_id, "settle", "by hand", "settled", f"by {by}")
        return settled


def _text(usd: Decimal | None) -> str | None:
    return None if usd is None else f"{usd:f}"
