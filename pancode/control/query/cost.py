"""Sums the cost of runs by one of their properties: `pancode cost`. Each sum is one of the books."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from pancode.control.core import Core
from pancode.control.query.run import at, node_of
from pancode.control.query.shapes import CostRow, CostTable
from pancode.domain import books
from pancode.domain.account import costs
from pancode.domain.account.costs import BY, CostLine
from pancode.domain.names import not_found
from pancode.domain.records import Balance, BookEntry, EntryKind, Run
from pancode.domain.values import replace
from pancode.ports import Grouped, Grouping, Transaction

_SPENT = (EntryKind.SPEND.value, EntryKind.CORRECT.value, EntryKind.UNKNOWN.value)
_DAY = costs.SCOPE_OF["day"]
_TASK = 80


def cost(core: Core, by: str, since_ms: int, limit: int) -> CostTable:
    """The dearest first, at most `limit` rows; the total is of all. NotFoundError for an unknown property."""
    if by not in BY:
        raise not_found("property", by, BY, f"pancode cost --by {'|'.join(BY)}")
    with core.ports.ledger.transaction() as tx:
        unknown = _unknown(tx, since_ms)
        lines = _lines(tx, by, since_ms)
        lines = _with_unknown(tx, lines, by, unknown)
        shared = by in costs.SHARED
        everything = _everything(tx, since_ms, len(unknown)) if shared else costs.total(lines)
        ordered = costs.in_order(costs.with_rest(lines, everything) if shared else lines, by)
        rows = [_row(line, _about(tx, line.key) if by == "run" else "") for line in ordered[:limit]]
    since = at(since_ms) if since_ms else None
    whole = _row(everything, "")
    return {"by": by, "since": since, "rows": rows, "total": whole, "left_out": max(0, len(ordered) - limit)}


def _lines(tx: Transaction, by: str, since_ms: int) -> list[CostLine]:
    prefix = costs.SCOPE_OF.get(by)
    if prefix is not None:
        return [
            replace(line, key=line.key and line.key.removeprefix(prefix))
            for line in _sums(tx, "scope", prefix, since_ms)
        ]
    each = _sums(tx, "run", _DAY, since_ms)
    if by == "run":
        return each
    kinds = _of_runs(tx, by)
    return costs.grouped(each, lambda run: kinds.get(run or ""))


def _sums(tx: Transaction, by: str | None, prefix: str, since_ms: int) -> list[CostLine]:
    grouping = Grouping(
        by=() if by is None else (by,),
        sums=("usd", "tokens", "agent_ms"),
        distinct=None if by == "run" else "run",
        among={"kind": _SPENT},
        prefix=("scope", prefix),
        least=("at_ms", since_ms) if since_ms else None,
    )
    return [_line(group, by) for group in tx.tally(BookEntry, grouping)]


def _line(group: Grouped, by: str | None) -> CostLine:
    usd, tokens, ms = group.sums
    runs = 1 if by == "run" else group.count
    return CostLine(group.key[0] if group.key else None, runs, Decimal(usd), int(tokens), int(ms))


def _everything(tx: Transaction, since_ms: int, unknown: int) -> CostLine:
    """Each run once, whatever it has several of."""
    found = _sums(tx, None, _DAY, since_ms)
    return CostLine("total", unknown=unknown) + (found[0] if found else CostLine(None))


def _of_runs(tx: Transaction, field: str) -> dict[str, str | None]:
    """The value of that field for each run; a run that cost something lately may be older than that."""
    return {g.key[0]: g.key[1] for g in tx.tally(Run, Grouping(by=("id", field)))}


def _unknown(tx: Transaction, since_ms: int) -> dict[str, set[str]]:
    """The runs whose cost nobody could tell yet, each with the days of its attempts."""
    days = [b.scope for b in tx.find(Balance) if books.is_day(b.scope) and b.unknown_runs]
    found: dict[str, set[str]] = {}
    for day in days:
        entries = tx.find(BookEntry, {"scope": day})
        late = {e.run for e in entries if e.kind is EntryKind.UNKNOWN and e.at_ms >= since_ms}
        for run in books.unknown_runs(entries):
            if run in late:
                found.setdefault(run, set()).add(day.removeprefix("day:"))
    return found


def _with_unknown(
    tx: Transaction, lines: list[CostLine], by: str, unknown: dict[str, set[str]]
) -> list[CostLine]:
    more = [CostLine(key, unknown=1) for run, days in unknown.items() for key in _keys(tx, run, by, days)]
    return costs.grouped([*lines, *more], lambda key: key) if more else lines


def _keys(tx: Transaction, run_id: str, by: str, days: set[str]) -> Sequence[str | None]:
    run = tx.get(Run, run_id)
    if by == "day":
        return sorted(days)
    if by == "run" or run is None:
        return [run_id if by == "run" else None]
    if by == "node":
        return [node_of(tx, run)]
    return [getattr(run, "project" if by == "repository" else by)]


def _about(tx: Transaction, run_id: str | None) -> str:
    run = tx.get(Run, run_id) if run_id is not None else None
    if run is None:
        return ""
    task = run.task if run.argv is None else " ".join(run.argv)
    return f"{run.outcome or run.state}  {run.agent}: {' '.join(task.split())[:_TASK]}"


def _row(line: CostLine, about: str) -> CostRow:
    return {
        "key": line.key,
        "runs": line.runs,
        "usd": f"{line.usd:f}",
        "unknown_runs": line.unknown,
        "tokens": line.tokens,
        "agent_minutes": round(line.agent_ms / books.MINUTE_MS, 2),
        "about": about,
    }
