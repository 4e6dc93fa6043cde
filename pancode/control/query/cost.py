"""Sums the cost of runs by one of their properties: `pancode cost`. Each sum is one of the books."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from pancode.control.core import Core
from pancode.control.query.run import at, node_of
from pancode.control.query.shapes import CostRow, CostTable
from pancode.domain import books
from pancode.domain.account import costs
from pancode.domain.account.costs import BY, CostLine
from pancode.domain.names import not_found
from pancode.domain.records import Balance, BookEntry, EndedRun, EntryKind, Run, RunState
from pancode.domain.values import replace
from pancode.errors import UsageError
from pancode.ports import Grouped, Grouping, Transaction

_SPENT = (EntryKind.SPEND.value, EntryKind.CORRECT.value, EntryKind.UNKNOWN.value)
_DAY = costs.SCOPE_OF["day"]
_TASK = 80
_FIGURES = ("usd", "tokens", "agent_ms")
_NONE = CostLine(None)
_ALL: Mapping[str, str] = {}
_NOT_OF_ONE = ("day", "workflow")
"""Properties that the rows of single runs do not have."""


def cost(core: Core, by: str, since_ms: int, limit: int, only: Mapping[str, str] = _ALL) -> CostTable:
    """The dearest first, at most `limit` rows; the total is of all. NotFoundError for an unknown property.

    `only`: of runs with this agent, repository, or node on which they ended. UsageError by day or workflow.
    """
    if by not in BY:
        raise not_found("property", by, BY, f"pancode cost --by {'|'.join(BY)}")
    if only and by in _NOT_OF_ONE:
        fix = f"pancode cost --by {by}, or --by run with the filter and --since"
        raise UsageError(f"the cost by {by} is told for all runs together", fix=fix, code="bad_value")
    with core.ports.ledger.transaction() as tx:
        unsettled = {run: one for run, one in _unsettled(tx, since_ms).items() if _fits(tx, run, only)}
        if by == "run":
            lines, rest = _by_run(tx, since_ms, limit, unsettled, only)
        else:
            lines, rest = _lines(tx, by, since_ms, only), _NONE
        lines = _with_unsettled(tx, lines, by, unsettled)
        shared = by in costs.SHARED and not only
        everything = _everything(tx, since_ms, unsettled) if shared else costs.total([*lines, rest])
        lines = costs.with_rest(lines, everything) if shared else lines
        ordered = costs.in_order(lines, by, limit)
        rows = [_row(line, _about(tx, line.key) if by == "run" else "") for line in ordered]
    since = at(since_ms) if since_ms else None
    whole = _row(everything, "")
    return {
        "by": by,
        "since": since,
        "rows": rows,
        "total": whole,
        "left_out": max(0, len(lines) + rest.runs - limit),
    }


def _lines(tx: Transaction, by: str, since_ms: int, only: Mapping[str, str]) -> list[CostLine]:
    prefix = costs.SCOPE_OF.get(by)
    if prefix is not None and not only:
        return [
            replace(line, key=line.key and line.key.removeprefix(prefix))
            for line in _sums(tx, "scope", prefix, since_ms)
        ]
    lines = [*_of_ended(tx, by, since_ms, only), *_cut(tx, by, since_ms, only)]
    lines += _of_open(tx, by, since_ms, only)
    return costs.grouped(lines, lambda key: key)


def _by_run(
    tx: Transaction, since_ms: int, limit: int, unsettled: Collection[str], only: Mapping[str, str]
) -> tuple[list[CostLine], CostLine]:
    """The dearest runs, with all of unknown or disputed cost; and all others together, however many."""
    whole = Grouping(by=(), sums=_FIGURES, least=("first_ms", max(1, since_ms)), among=_among(only))
    groups = tx.tally(EndedRun, replace(whole, by=("run",), largest=("usd", limit)))
    ended = [_line(one, "run") for one in groups]
    sums = [replace(_line(one, None), runs=one.count) for one in tx.tally(EndedRun, whole)]
    more = {run: _of_one(tx, run, run, since_ms) for run in unsettled if run not in {e.key for e in ended}}
    lines = [*_cut(tx, "run", since_ms, only), *_of_open(tx, "run", since_ms, only)]
    there = {line.key for line in lines}
    known = [*ended, *(line for run, line in more.items() if line.runs and run not in there)]
    rest = costs.total(sums).less(costs.total(known))
    return [*known, *lines], rest


def _among(only: Mapping[str, str]) -> dict[str, tuple[str | int | None, ...]]:
    return {name: (word,) for name, word in only.items()}


def _fits(tx: Transaction, run_id: str, only: Mapping[str, str]) -> bool:
    return all(_keys(tx, run_id, name, set()) == [word] for name, word in only.items())


def _of_ended(tx: Transaction, by: str, since_ms: int, only: Mapping[str, str]) -> Iterator[CostLine]:
    """Out of the narrow rows."""
    least = ("first_ms", max(1, since_ms))
    whole = Grouping(by=(by,), sums=_FIGURES, least=least, among=_among(only))
    yield from (_line(one, by) for one in tx.tally(EndedRun, whole))


def _cut(tx: Transaction, by: str, since_ms: int, only: Mapping[str, str]) -> Iterator[CostLine]:
    """Runs with entries from before and from after that moment, entry by entry."""
    if since_ms:
        names = tuple(dict.fromkeys(("run", by)))
        least, below = ("last_ms", since_ms), ("first_ms", since_ms)
        cut = Grouping(by=names, least=least, below=below, among=_among(only))
        yield from (_of_one(tx, one.key[0], one.key[-1], since_ms) for one in tx.tally(EndedRun, cut))


def _of_open(tx: Transaction, by: str, since_ms: int, only: Mapping[str, str]) -> Iterator[CostLine]:
    """Runs that wait for another attempt, after one that has cost something."""
    for state in RunState:
        if state is not RunState.ENDED:
            for run in tx.find(Run, {"state": state}):
                if run.attempt > 1 and _fits(tx, run.id, only):
                    line = _of_one(tx, run.id, _keys(tx, run.id, by, set())[0], since_ms)
                    yield from () if line.runs == 0 else (line,)


def _of_one(tx: Transaction, run: str, key: str | None, since_ms: int) -> CostLine:
    """What one run has cost since then, entry by entry."""
    entries = [e for e in tx.find(BookEntry, {"run": run}) if e.kind.value in _SPENT and e.at_ms >= since_ms]
    mine = [e for e in entries if books.is_day(e.scope)]
    usd = books.plus(*(e.usd for e in mine))
    return CostLine(key, int(bool(mine)), usd, sum(e.tokens for e in mine), sum(e.agent_ms for e in mine))


def _sums(tx: Transaction, by: str | None, prefix: str, since_ms: int) -> list[CostLine]:
    grouping = Grouping(
        by=() if by is None else (by,),
        sums=_FIGURES,
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


def _everything(tx: Transaction, since_ms: int, unsettled: Mapping[str, Unsettled]) -> CostLine:
    """Each run once, whatever it has several of."""
    found = _sums(tx, None, _DAY, since_ms)
    disputed = books.plus(*(usd for one in unsettled.values() for usd in one.disputed.values()))
    unknown = sum(bool(one.unknown) for one in unsettled.values())
    return CostLine("total", unknown=unknown, disputed=disputed) + (found[0] if found else CostLine(None))


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What a person has to say of a run: the days of its attempts of unknown cost, the claims of each day."""

    unknown: set[str] = field(default_factory=set)
    disputed: dict[str, Decimal] = field(default_factory=dict)


def disputed_runs(tx: Transaction) -> dict[str, Decimal]:
    """The runs with a claim beyond the limit of their order that nobody has looked at, whenever it came."""
    found = ((run, one) for run, one in _unsettled(tx, 0).items() if one.disputed)
    return {run: books.plus(*one.disputed.values()) for run, one in found}


def _unsettled(tx: Transaction, since_ms: int) -> dict[str, Unsettled]:
    """By run."""
    balances = (b for b in tx.find(Balance) if b.unknown_runs or b.disputed_usd)
    found: dict[str, Unsettled] = {}
    for scope in [b.scope for b in balances if books.is_day(b.scope)]:
        entries, day = tx.find(BookEntry, {"scope": scope}), scope.removeprefix("day:")
        late = {(e.run, e.kind) for e in entries if e.at_ms >= since_ms}
        for run in books.unknown_runs(entries):
            if (run, EntryKind.UNKNOWN) in late:
                found.setdefault(run, Unsettled()).unknown.add(day)
        for run, usd in books.disputed(entries).items():
            if (run, EntryKind.DISPUTED) in late:
                found.setdefault(run, Unsettled()).disputed[day] = usd
    return found


def _with_unsettled(
    tx: Transaction, lines: list[CostLine], by: str, unsettled: Mapping[str, Unsettled]
) -> list[CostLine]:
    more: list[CostLine] = []
    for run, one in unsettled.items():
        more += [CostLine(key, unknown=1) for key in _keys(tx, run, by, one.unknown)] if one.unknown else []
        for day, usd in one.disputed.items():
            more += [CostLine(key, disputed=usd) for key in _keys(tx, run, by, {day})]
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
    task = run.task or " ".join(run.argv or ())
    return f"{run.outcome or run.state}  {run.agent}: {' '.join(task.split())[:_TASK]}"


def _row(line: CostLine, about: str) -> CostRow:
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
