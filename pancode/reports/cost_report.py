"""Sums the cost of runs by one property (`pancode cost`). The sums match the budget accounts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pancode.budget import books, costs
from pancode.budget.answers import BY, CostRow, CostTable
from pancode.budget.costs import CostLine
from pancode.kernel.errors import UsageError
from pancode.kernel.names import not_found
from pancode.kernel.ports import Grouped, Grouping, Transaction
from pancode.kernel.records import Balance, BookEntry, EndedRun, EntryKind, Run, RunState
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.life.conversation import payer_of
from pancode.runs.views import format_iso, node_of

_SPENT = (EntryKind.SPEND.value, EntryKind.CORRECT.value, EntryKind.UNKNOWN.value)
_DAY = costs.SCOPE_OF["day"]
_TASK = 80
_FIGURES = ("usd", "tokens", "agent_ms")
_NONE = CostLine(None)
_ALL: Mapping[str, str] = {}
_NOT_OF_ONE = ("day", "workflow", "session")
"""Properties that the rows of individual runs do not have."""
_ASKED_AT_ONCE = 500
_Keys = tuple[str | None, ...]


def report_cost(core: Core, by: str, since_ms: int, limit: int, only: Mapping[str, str] = _ALL) -> CostTable:
    """Return the cost by property `by`, most expensive first, at most `limit` rows; the total is of all runs.

    `only`: of runs with this agent or repository, or that ended on this node. NotFoundError for an unknown
    property; UsageError for `only` by day, workflow or session.
    """
    return cost_tables(core, (by,), since_ms, limit, only)[0]


def cost_tables(
    core: Core, columns: Sequence[str], since_ms: int, limit: int, only: Mapping[str, str] = _ALL
) -> list[CostTable]:
    """Return `report_cost` for several properties, reading ended runs and unsettled costs only once."""
    for by in columns:
        if by not in BY:
            raise not_found("property", by, BY, f"pancode budget spent --by {'|'.join(BY)}")
        if only and by in _NOT_OF_ONE:
            fix = (
                f"omit the filter: pancode budget spent --by {by}; or use --by run with the filter and "
                "--since"
            )
            raise UsageError(
                f"the cost by {by} is only available for all runs together", fix=fix, code="bad_value"
            )
    with core.ports.ledger.transaction() as tx:
        unsettled = {
            run: one for run, one in _list_unsettled(tx, since_ms).items() if _fits_filter(tx, run, only)
        }
        of_books = () if only else tuple(by for by in columns if by in costs.SCOPE_OF)
        fields = tuple(by for by in columns if by not in ("run", *of_books)) or (
            ("agent",) if of_books else ()
        )
        known = _of_runs(tx, fields, since_ms, only)
        whole = _with_unsettled(tx, known[fields[0]], fields[0], unsettled) if of_books else []
        tables: list[CostTable] = []
        for by in columns:
            rest = _NONE
            if by == "run":
                lines, rest = _by_run(tx, since_ms, limit, unsettled, only)
            else:
                lines = _of_books(tx, by, since_ms) if by in of_books else known[by]
            lines = _with_unsettled(tx, lines, by, unsettled)
            everything = costs.sum_lines(whole if by in of_books else [*lines, rest])
            lines = costs.with_rest(lines, everything) if by in of_books else lines
            ordered = costs.in_order(lines, by, limit)
            shown = [_make_row(line, _describe_run(tx, line.key) if by == "run" else "") for line in ordered]
            left_out = max(0, len(lines) + rest.runs - limit)
            total = _make_row(everything, "")
            since = format_iso(since_ms) if since_ms else None
            tables.append({"by": by, "since": since, "rows": shown, "total": total, "left_out": left_out})
    return tables


def _by_run(
    tx: Transaction, since_ms: int, limit: int, unsettled: Collection[str], only: Mapping[str, str]
) -> tuple[list[CostLine], CostLine]:
    """Return the most expensive runs, with all of unknown or disputed cost; and the sum of all others."""
    whole = Grouping(by=(), sums=_FIGURES, least=("first_ms", max(1, since_ms)), among=_make_filter(only))
    groups = tx.tally(EndedRun, replace(whole, by=("run",), largest=("usd", limit)))
    ended = [_make_line(one, one.key[0]) for one in groups]
    sums = [_make_line(one, None) for one in tx.tally(EndedRun, whole)]
    more = {run: _of_one(tx, run, since_ms) for run in unsettled if run not in {e.key for e in ended}}
    lines = [replace(line, key=run) for (run,), line in _entry_by_entry(tx, ("run",), since_ms, only)]
    there = {line.key for line in lines}
    single = (replace(line, key=run) for run, line in more.items() if line.runs and run not in there)
    known = [*ended, *single]
    rest = costs.sum_lines(sums).less(costs.sum_lines(known))
    return [*known, *lines], rest


def _make_filter(only: Mapping[str, str]) -> dict[str, tuple[str | int | None, ...]]:
    return {name: (word,) for name, word in only.items()}


def _fits_filter(tx: Transaction, run_id: str, only: Mapping[str, str]) -> bool:
    return all(_find_keys(tx, run_id, name, set()) == [word] for name, word in only.items())


def _of_runs(
    tx: Transaction, fields: Sequence[str], since_ms: int, only: Mapping[str, str]
) -> dict[str, list[CostLine]]:
    """Return the costs grouped by each of these properties, with one read of the ended runs' rows."""
    if not fields:
        return {}
    least = ("first_ms", max(1, since_ms))
    grouping = Grouping(by=tuple(fields), sums=_FIGURES, least=least, among=_make_filter(only))
    found = [(one.key, _make_line(one, None)) for one in tx.tally(EndedRun, grouping)]
    found += _entry_by_entry(tx, fields, since_ms, only)
    return {
        by: costs.group_lines((replace(line, key=keys[place]) for keys, line in found), lambda key: key)
        for place, by in enumerate(fields)
    }


def _entry_by_entry(
    tx: Transaction, fields: Sequence[str], since_ms: int, only: Mapping[str, str]
) -> Iterator[tuple[_Keys, CostLine]]:
    """Yield the costs of runs with entries before and after that time, and of retried runs not yet ended."""
    if since_ms:
        names = tuple(dict.fromkeys(("run", *fields)))
        least, below = ("last_ms", since_ms), ("first_ms", since_ms)
        cut = Grouping(by=names, least=least, below=below, among=_make_filter(only))
        for one in tx.tally(EndedRun, cut):
            named = dict(zip(names, one.key, strict=True))
            yield tuple(named[name] for name in fields), _of_one(tx, named["run"], since_ms)
    for state in RunState:
        if state is not RunState.ENDED:
            for run in tx.find(Run, {"state": state}):
                if run.attempt > 1 and _fits_filter(tx, run.id, only):
                    line = _of_one(tx, run.id, since_ms)
                    keys = tuple(_find_keys(tx, run.id, by, set())[0] for by in fields)
                    yield from ((keys, line),) if line.runs else ()


def _of_one(tx: Transaction, run: str, since_ms: int) -> CostLine:
    """Return what one run has cost since that time, summed from its entries."""
    entries = [e for e in tx.find(BookEntry, {"run": run}) if e.kind.value in _SPENT and e.at_ms >= since_ms]
    mine = [e for e in entries if books.is_day(e.scope)]
    usd = books.add_amounts(*(e.usd for e in mine))
    return CostLine(None, int(bool(mine)), usd, sum(e.tokens for e in mine), sum(e.agent_ms for e in mine))


def _of_books(tx: Transaction, by: str, since_ms: int) -> list[CostLine]:
    """Return the cost by a property with several values per run; each value has its own budget scope."""
    prefix = costs.SCOPE_OF[by]
    grouping = Grouping(
        by=("scope",),
        sums=_FIGURES,
        distinct="run",
        among={"kind": _SPENT},
        prefix=("scope", prefix),
        least=("at_ms", since_ms) if since_ms else None,
    )
    return [_make_line(one, one.key[0].removeprefix(prefix)) for one in tx.tally(BookEntry, grouping)]


def _make_line(group: Grouped, key: str | None) -> CostLine:
    usd, tokens, ms = group.sums
    return CostLine(key, group.count, Decimal(usd), int(tokens), int(ms))


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What a user must settle for a run: days with attempts of unknown cost, and disputed amounts by day."""

    unknown: set[str] = field(default_factory=set)
    disputed: dict[str, Decimal] = field(default_factory=dict)


def disputed_runs(tx: Transaction) -> dict[str, Decimal]:
    """Return the disputed amounts, which nodes reported above their jobs' limits, by run and of any time."""
    found = ((run, one) for run, one in _list_unsettled(tx, 0).items() if one.disputed)
    return {run: books.add_amounts(*one.disputed.values()) for run, one in found}


def _list_unsettled(tx: Transaction, since_ms: int) -> dict[str, Unsettled]:
    """Return the unsettled costs by run. Only entries of days that have such a cost are read."""
    balances = Grouping(by=("scope", "unknown_runs", "disputed_usd"), prefix=("scope", _DAY))
    days = tuple(one.key[0] for one in tx.tally(Balance, balances) if any(one.key[1:]))
    if not days:
        return {}

    def entries(kind: EntryKind, *by: str, **among: tuple[str, ...]) -> list[tuple[Any, ...]]:
        only = {"scope": days, "kind": (kind.value,), **among}
        return sorted(one.key for one in tx.tally(BookEntry, Grouping(by=by, among=only)))

    found: dict[str, Unsettled] = {}
    claims = entries(EntryKind.DISPUTED, "scope", "id", "run", "at_ms", "usd")
    claimed: dict[tuple[str, str], Decimal] = {}
    for scope, _, run, _, usd in claims:
        claimed[scope, run] = books.add_amounts(claimed.get((scope, run), books.ZERO), usd)
    unknown = entries(EntryKind.UNKNOWN, "scope", "id", "run", "at_ms", "attempt")
    back = set(entries(EntryKind.RELEASE, "scope", "run", "attempt", source=("unknown",)) if unknown else ())
    late = {(scope, run) for scope, _, run, at_ms, _ in unknown if at_ms >= since_ms}
    for scope, _, run, _, attempt in unknown:
        if (scope, run) in late and (scope, run, attempt) not in back:
            found.setdefault(run, Unsettled()).unknown.add(scope.removeprefix(_DAY))
    for scope, run in {(scope, run): 0 for scope, _, run, at_ms, _ in claims if at_ms >= since_ms}:
        if claimed[scope, run]:
            found.setdefault(run, Unsettled()).disputed[scope.removeprefix(_DAY)] = claimed[scope, run]
    return found


def _with_unsettled(
    tx: Transaction, lines: list[CostLine], by: str, unsettled: Mapping[str, Unsettled]
) -> list[CostLine]:
    named = _read_values(tx, by, tuple(unsettled))
    more: list[CostLine] = []
    for run, one in unsettled.items():
        keys = {
            day: named.get(run) or _find_keys(tx, run, by, {day}) for day in (*one.unknown, *one.disputed)
        }
        of_all = sorted(one.unknown) if by == "day" else [*one.unknown][:1]
        more += [CostLine(key, unknown=1) for day in of_all for key in keys[day]]
        for day, usd in one.disputed.items():
            more += [CostLine(key, disputed=usd) for key in keys[day]]
    return costs.group_lines([*lines, *more], lambda key: key) if more else lines


def _read_values(tx: Transaction, by: str, runs: Sequence[str]) -> dict[str, Sequence[str | None]]:
    """Return the values of the property for these runs, as far as their EndedRun rows have them."""
    if by in ("run", *_NOT_OF_ONE):
        return {}
    parts = (runs[first : first + _ASKED_AT_ONCE] for first in range(0, len(runs), _ASKED_AT_ONCE))
    groups = [Grouping(by=("run", by), among={"run": tuple(some)}) for some in parts]
    found = (one for grouping in groups for one in tx.tally(EndedRun, grouping))
    return {one.key[0]: [one.key[1]] for one in found if one.key[1] is not None}


def _find_keys(tx: Transaction, run_id: str, by: str, days: set[str]) -> Sequence[str | None]:
    if by == "day":
        return sorted(days)
    if by == "run":
        return [run_id]
    run = tx.get(Run, run_id)
    if run is None:
        return [None]
    if by == "node":
        return [node_of(tx, run)]
    if by == "session":
        return [payer_of(run) or None]
    return [getattr(run, "project" if by == "repository" else by)]


def _describe_run(tx: Transaction, run_id: str | None) -> str:
    run = tx.get(Run, run_id) if run_id is not None else None
    if run is None:
        return ""
    task = run.task or " ".join(run.argv or ())
    return f"{run.outcome or run.state}  {run.agent}: {' '.join(task.split())[:_TASK]}"


def _make_row(line: CostLine, about: str) -> CostRow:
    return {
        "key": line.key,
        "runs": line.runs,
        "usd": f"{line.usd:f}",
        "disputed_usd": f"{line.disputed:f}",
        "unknown_runs": line.unknown,
        "tokens": line.tokens,
        "agent_minutes": round(line.agent_ms / books.MINUTE_MS, 2),
        "about": about,
    }
