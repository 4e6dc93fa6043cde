"""What a person says about money: ceilings, and the cost of attempts that nobody could tell."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from pancode.control.core import CEILING, WORK_CEILING, Core
from pancode.domain import books
from pancode.domain.records import Attempt, Entry, Run, Setting
from pancode.errors import NotFoundError, UsageError


def set_ceilings(core: Core, scope: str, said: books.Ceilings, by: str) -> None:
    """The ceilings of `day`, `node:NAME` or `agent:NAME` in each currency that is said; the others stay.

    What is spent already stays spent.
    """
    if any(amount is not None and amount < 0 for amount in (said.usd, said.tokens, said.ms)):
        raise UsageError("a ceiling cannot be negative", fix="pancode budget set 10")
    with core.ports.ledger.transaction() as tx:
        old = core.ceilings(tx, scope if ":" in scope else f"{scope}:")
        if said.usd is not None:
            tx.put(Setting(f"{CEILING}{scope}", f"{said.usd:f}", core.wall_ms(), by))
        work = {"tokens": said.tokens, "ms": said.ms}
        if any(amount is not None for amount in work.values()):
            known = tx.get(Setting, f"{WORK_CEILING}{scope}")
            so_far = known.value if known is not None and isinstance(known.value, dict) else {}
            now = {**so_far, **{name: amount for name, amount in work.items() if amount is not None}}
            tx.put(Setting(f"{WORK_CEILING}{scope}", now, core.wall_ms(), by))
        told = {"scope": scope, "old": _text(old, said), "new": _text(said, said), "by": by}
        core.audit(tx, "budget", "info", "ceiling set", **told)


def unset_ceiling(core: Core, scope: str, by: str) -> None:
    """What was set by hand counts no more: the configured ceiling does, or none. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        found = [tx.get(Setting, f"{prefix}{scope}") for prefix in (CEILING, WORK_CEILING)]
        there = [setting for setting in found if setting is not None]
        if not there:
            raise NotFoundError(f"no ceiling was set for {scope}", fix="pancode budget show")
        for setting in there:
            tx.delete(Setting, setting.name)
        old = ", ".join(str(setting.value) for setting in there)
        core.audit(tx, "budget", "info", "ceiling unset", scope=scope, old=old, by=by)


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


def _text(ceilings: books.Ceilings, said: books.Ceilings) -> str | None:
    """In the currencies of `said`; None where there was none in any of them."""
    words = [f"{ceilings.usd:f}"] if said.usd is not None and ceilings.usd is not None else []
    words += [f"{ceilings.tokens} tokens"] if said.tokens is not None and ceilings.tokens is not None else []
    if said.ms is not None and ceilings.ms is not None:
        words.append(f"{books.minutes(ceilings.ms)} agent-minutes")
    return ", ".join(words) or None
