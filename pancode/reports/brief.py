"""Summarizes the time since a user's last visit (runs, waits, landings and cost) and records the visit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal

from node_agent.wire.failure import Outcome
from pancode.budget import books
from pancode.budget.answers import CostTable
from pancode.kernel.formatting import count_noun, format_outcome, format_usd
from pancode.kernel.ports import Grouping, Transaction
from pancode.kernel.records import Balance, EndedRun, EventKind, Run, RunState, Setting
from pancode.reports.answers import BriefShape, ReportShape
from pancode.reports.cost_report import cost_tables, disputed_runs, report_cost
from pancode.reports.needs import group_needs, list_needs
from pancode.runs.answers import BriefLine
from pancode.runs.core import Core
from pancode.runs.life.conversation import list_next_runs
from pancode.runs.lists import since_ms
from pancode.runs.needs import title_of
from pancode.runs.placement.placement import in_order
from pancode.runs.receipts.rules import cost_of
from pancode.runs.receipts.trust import read_tested
from pancode.runs.views import attempts_of, format_iso, node_of

LOOKED = "looked:"
"""The prefix of the setting with the end of a user's visit before this one, and the newest look; the user's
name follows."""
FIRST_MS = 24 * 3_600_000
"""Milliseconds that a user's first brief covers."""
_MOST_ROWS = 100
_SHOWN, _EVENTS = 20, 5_000
_LOOKED_AT = 3 * _SHOWN
"""How many of the newest ended runs are read; more than are shown, as some only evaluate other runs."""


def make_brief(core: Core, by: str, since: str | None, costs: CostTable | None = None) -> BriefShape:
    """Return a brief. `since` None: since the last visit. UsageError for a bad time. `costs`: by agent since
    then, if already known."""
    until, waits = core.wall_ms(), list_needs(core)
    with core.ports.ledger.transaction() as tx:
        begin = last_look(tx, by, until) if since is None else since_ms(core, since)
        newest = tx.find(EndedRun, order="ended_ms", descending=True, limit=_LOOKED_AT)
        ended = [row.run for row in newest if row.ended_ms >= begin and not row.judges]
        outcomes = ends_since(tx, begin)
        landed = list(list_landed(core, tx, begin))
        open_, notes = _open(tx), list_cost_notes(tx, until)
        runs = _read_runs(tx, ended[:_SHOWN])
        ran = [line_of(run, _format_outcome(tx, run), "pancode runs show {run}") for run in runs]
        for line, run in zip(ran, runs, strict=True):
            line["outcome"] = str(run.outcome)
    costs = costs or report_cost(core, "agent", begin, _SHOWN)
    return BriefShape(
        by=by,
        since=format_iso(begin),
        until=format_iso(until),
        outcomes=outcomes,
        ran=ran,
        waits=tuple(need for group in group_needs(waits) for need in group.needs),
        notes=notes,
        held=list(_list_held(open_[RunState.PENDING], {one.run for one in waits}))[:_SHOWN],
        landed=landed,
        cost=costs["total"],
        by_agent=costs["rows"][:_SHOWN],
        running=sum(len(runs) for state, runs in open_.items() if state is not RunState.PENDING),
        queued=len(open_[RunState.PENDING]),
    )


def list_cost_notes(tx: Transaction, wall_ms: int) -> list[BriefLine]:
    """Return the costs that a user must settle: those that are disputed, and those that are unknown."""
    today = tx.get(Balance, books.day_scope(wall_ms))
    disputed = [_make_disputed(run, usd) for run, usd in disputed_runs(tx).items()]
    return [*disputed[:_SHOWN], *_list_unknown(today.unknown_runs if today is not None else 0)]


def _open(tx: Transaction) -> dict[RunState, list[Run]]:
    return {
        state: [run for run in tx.find(Run, {"state": state}) if run.judges is None]
        for state in RunState
        if state is not RunState.ENDED
    }


def make_report(core: Core, by: str, since: str) -> ReportShape:
    """Return a brief of a longer period, with the cost of each day and each repository."""
    columns = ("day", "repository", "agent")
    days, repositories, agents = cost_tables(core, columns, since_ms(core, since), _MOST_ROWS)
    summary = make_brief(core, by, since, agents)
    return ReportShape(summary, days["rows"], repositories["rows"])


VISIT_MS = 30 * 60_000
"""How long after a look a further one belongs to the same visit."""


def record_look(core: Core, by: str) -> None:
    """Record that the user looks now: the visit continues, or a new one begins. It decides nothing."""
    now_ms = core.wall_ms()
    with core.lock, core.ports.ledger.transaction() as tx:
        tx.put(Setting(f"{LOOKED}{by}", [last_look(tx, by, now_ms), now_ms], now_ms, by))


def last_look(tx: Transaction, by: str, now_ms: int) -> int:
    """Return when the user's visit before this one ended; within a visit, the time stays the same."""
    known = tx.get(Setting, f"{LOOKED}{by}")
    if known is None or not isinstance(known.value, list):
        return now_ms - FIRST_MS
    before, newest = map(int, known.value)
    return before if now_ms - newest <= VISIT_MS else newest


def _format_outcome(tx: Transaction, run: Run) -> str:
    usd, unknown = cost_of(attempts_of(tx, run))
    price = format_usd(usd) + " and unknown" * unknown if usd or not unknown else "cost unknown"
    seen = read_tested(run)
    trust = f", {seen.words}" if seen is not None else ""
    is_answered = run.outcome is Outcome.BLOCKED and list_next_runs(run)
    state = "answered" if is_answered else format_outcome(str(run.outcome))
    return f"{state}{trust}: {run.agent} on {node_of(tx, run) or 'no node'}, {price}"


def _list_held(pending: Sequence[Run], waiting: Collection[str | None]) -> Iterator[BriefLine]:
    """Yield the runs that have not begun, in order; those with the same reason share one line. `waiting`:
    runs to leave out, because a user has to decide on them."""
    by_reason = dict[str, list[Run]]()
    for run in in_order(pending):
        if run.waits is not None and run.id not in waiting:
            by_reason.setdefault(run.reason, []).append(run)
    for reason, runs in by_reason.items():
        first, many = runs[0], count_noun(len(runs), "run")
        command = f"pancode why {first.id}" if len(runs) == 1 else "pancode runs ls --waiting"
        words = (
            f"not started: {reason}"
            if len(runs) == 1
            else f"and others, {many} in all, not started: {reason}"
        )
        yield {"run": first.id, "what": words, "task": title_of(first), "command": command}


def _read_runs(tx: Transaction, names: Sequence[str]) -> list[Run]:
    return [run for name in names if (run := tx.get(Run, name)) is not None]


def ends_since(tx: Transaction, begin: int) -> dict[str, int]:
    """Return the number of runs that ended since `begin`, by outcome."""
    rows = Grouping(by=("outcome",), among={"judges": (False,)}, least=("ended_ms", begin))
    return {str(one.key[0]): one.count for one in tx.tally(EndedRun, rows)}


def _list_unknown(runs: int) -> Iterator[BriefLine]:
    if runs:
        command, what = "pancode budget settle RUN --usd X", f"runs of unknown cost today: {runs}"
        yield {"run": None, "what": what, "task": "", "command": command}


def _make_disputed(run: str, usd: Decimal) -> BriefLine:
    more = format_usd(usd)
    words = f"its node reports {more} above its job's limit; no budget counts that until you settle it"
    command = f"pancode budget settle {run} --usd X"
    return {"run": run, "what": words, "task": "", "command": command}


def list_landed(core: Core, tx: Transaction, begin: int) -> Iterator[BriefLine]:
    """Yield the landings that are still in the feed, once per run."""
    landings = [e for e in core.feed.newest(_EVENTS) if e.kind is EventKind.RUN_LANDING and e.at_ms >= begin]
    for name in dict.fromkeys(event.run for event in reversed(landings) if event.data.get("commit")):
        run = tx.get(Run, name) if name is not None else None
        if run is not None and run.landed:
            where = f"as {run.landed[:12]}" if run.landing.get("made") else "in your files"
            yield line_of(run, f"landed {where}", "pancode diff {run}")


def line_of(run: Run, words: str, command: str) -> BriefLine:
    return {"run": run.id, "what": words, "task": title_of(run), "command": command.format(run=run.id)}
