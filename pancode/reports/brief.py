"""Summarizes the time since a user's last visit (runs, waits, landings and cost) and records the visit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from textwrap import shorten

from node_agent.wire.failure import Outcome
from pancode.budget import books
from pancode.budget.answers import CostTable
from pancode.kernel.formatting import count_noun, format_outcome, format_usd
from pancode.kernel.ports import Grouping, Transaction
from pancode.kernel.records import Balance, EndedRun, EventKind, Node, Run, RunState, Setting
from pancode.reports.answers import BriefShape, ReportShape
from pancode.reports.cost_report import cost_tables, disputed_runs, report_cost
from pancode.runs import health
from pancode.runs.answers import BriefLine, InboxShape
from pancode.runs.core import Core
from pancode.runs.features import features_of
from pancode.runs.life.conversation import list_next_runs
from pancode.runs.lists import since_ms
from pancode.runs.placement.placement import in_order
from pancode.runs.receipts.rules import cost_of
from pancode.runs.receipts.trust import read_tested
from pancode.runs.restored import release
from pancode.runs.review_rules import line_of, review_of, task_of
from pancode.runs.views import attempts_of, format_iso, node_of

LOOKED = "looked:"
"""The prefix of the setting with the time of a user's last visit; the user's name follows."""
FIRST_MS = 24 * 3_600_000
"""Milliseconds that a user's first brief covers."""
_MOST_ROWS = 100
_NEWEST, _SHOWN, _EVENTS, _WORDS = 5_000, 20, 5_000, 160
_LOOKED_AT = 3 * _SHOWN
"""How many of the newest ended runs are read; more than are shown, as some only evaluate other runs."""
_WAITING = 100
"""How many runs that need a user are listed individually."""


def make_brief(
    core: Core, inbox: list[InboxShape], by: str, since: str | None, costs: CostTable | None = None
) -> BriefShape:
    """Return a brief. `inbox`: all that waits for a user. `since` None: since the last visit. UsageError for
    a bad time. `costs`: by agent since then, if already known."""
    until = core.wall_ms()
    with core.ports.ledger.transaction() as tx:
        begin = last_look(tx, by, until) if since is None else since_ms(core, since)
        newest = tx.find(EndedRun, order="ended_ms", descending=True, limit=_LOOKED_AT)
        ended = [row.run for row in newest if row.ended_ms >= begin and not row.judges]
        outcomes = ends_since(tx, begin)
        landed = list(list_landed(core, tx, begin))
        open_ = _open(tx)
        waiting = list(_list_inbox(tx, inbox))
        also = _list_also(core, tx, inbox, open_)
        runs = _read_runs(tx, ended[:_SHOWN])
        ran = [line_of(run, _format_outcome(tx, run), "pancode runs show {run}") for run in runs]
        for line, run in zip(ran, runs, strict=True):
            line["outcome"] = str(run.outcome)
    costs = costs or report_cost(core, "agent", begin, _SHOWN)
    return {
        "by": by,
        "since": format_iso(begin),
        "until": format_iso(until),
        "outcomes": outcomes,
        "ran": ran,
        "waits": [*waiting, *also],
        "held": list(_list_held(open_[RunState.PENDING], {item["run"] for item in inbox}))[:_SHOWN],
        "landed": landed,
        "cost": costs["total"],
        "by_agent": costs["rows"][:_SHOWN],
        "running": sum(len(runs) for state, runs in open_.items() if state is not RunState.PENDING),
        "queued": len(open_[RunState.PENDING]),
    }


def also_waits(core: Core, inbox: list[InboxShape]) -> list[BriefLine]:
    """Return what waits for a user besides the questions in the inbox. The brief has the same lines, so that
    all interfaces agree on whether anything waits; a visit of a user changes none of them."""
    with core.ports.ledger.transaction() as tx:
        return _list_also(core, tx, inbox, _open(tx))


def _list_also(
    core: Core, tx: Transaction, inbox: list[InboxShape], open_: Mapping[RunState, Sequence[Run]]
) -> list[BriefLine]:
    """Return stopped lanes, results that no user has decided on, tools, schedules, costs and nodes. `open_`:
    the runs that have not ended, by state."""
    again = {run.retry_of for runs in open_.values() for run in runs}
    # Each of these lines already covers its run.
    found = [line for find in features_of(core).brief for line in find(core, tx)]
    left = _list_undecided(tx, {*(item["run"] for item in inbox), *again, *(one["run"] for one in found)})
    today = tx.get(Balance, books.day_scope(core.wall_ms()))
    disputed = [_make_disputed(run, usd) for run, usd in disputed_runs(tx).items()]
    fault = core.live.redis.fault
    redis: list[BriefLine] = []
    if fault is not None:
        redis = [{"run": None, "what": f"{fault} ({fault.why})", "task": "", "command": fault.fix}]
    return [
        *redis,
        *release.list_inbox_items(core, tx),
        *health.list_inbox_items(core, tx),
        *found,
        *filter(None, (review_of(core, tx, run) for run in _read_runs(tx, left[:_WAITING]))),
        *_list_more(len(left) - _WAITING),
        *disputed[:_SHOWN],
        *_list_sick(tx.find(Node)),
        *_list_unknown(today.unknown_runs if today is not None else 0),
    ]


def _open(tx: Transaction) -> dict[RunState, list[Run]]:
    return {
        state: [run for run in tx.find(Run, {"state": state}) if run.judges is None]
        for state in RunState
        if state is not RunState.ENDED
    }


def make_report(core: Core, inbox: list[InboxShape], by: str, since: str) -> ReportShape:
    """Return a brief of a longer period, with the cost of each day and each repository."""
    columns = ("day", "repository", "agent")
    days, repositories, agents = cost_tables(core, columns, since_ms(core, since), _MOST_ROWS)
    summary = make_brief(core, inbox, by, since, agents)
    return {"brief": summary, "by_day": days["rows"], "by_repository": repositories["rows"]}


def record_look(core: Core, by: str) -> None:
    """Record the current time as the user's latest look at the brief; `last_look` returns it."""
    with core.lock, core.ports.ledger.transaction() as tx:
        tx.put(Setting(f"{LOOKED}{by}", core.wall_ms(), core.wall_ms(), by))


def last_look(tx: Transaction, by: str, now_ms: int) -> int:
    known = tx.get(Setting, f"{LOOKED}{by}")
    return known.value if known is not None and isinstance(known.value, int) else now_ms - FIRST_MS


def _format_outcome(tx: Transaction, run: Run) -> str:
    usd, unknown = cost_of(attempts_of(tx, run))
    price = format_usd(usd) + " and unknown" * unknown if usd or not unknown else "cost unknown"
    seen = read_tested(run)
    trust = f", {seen.words}" if seen is not None else ""
    is_answered = run.outcome is Outcome.BLOCKED and list_next_runs(run)
    state = "answered" if is_answered else format_outcome(str(run.outcome))
    return f"{state}{trust}: {run.agent} on {node_of(tx, run) or 'no node'}, {price}"


def _list_inbox(tx: Transaction, inbox: list[InboxShape]) -> Iterator[BriefLine]:
    """Yield a line for each item in the inbox, however old it is."""
    for item in inbox:
        run = tx.get(Run, item["run"])
        if run is not None:
            what = f"{item['kind']}: {shorten(item['words'], _WORDS, placeholder=' ...')}"
            yield {"run": run.id, "what": what, "task": task_of(run), "command": item["command"]}


def _list_held(pending: Sequence[Run], waiting: Collection[str]) -> Iterator[BriefLine]:
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
        yield {"run": first.id, "what": words, "task": task_of(first), "command": command}


def _read_runs(tx: Transaction, names: Sequence[str]) -> list[Run]:
    return [run for name in names if (run := tx.get(Run, name)) is not None]


def ends_since(tx: Transaction, begin: int) -> dict[str, int]:
    """Return the number of runs that ended since `begin`, by outcome."""
    rows = Grouping(by=("outcome",), among={"judges": (False,)}, least=("ended_ms", begin))
    return {str(one.key[0]): one.count for one in tx.tally(EndedRun, rows)}


def _list_undecided(tx: Transaction, seen_to: Collection[str | None]) -> list[str]:
    """Return ended runs that need a user, newest first. Each remains until a user lands, retries, continues
    or drops it."""
    rows = Grouping(("ended_ms", "run"), among={"left": (True,)}, largest=("ended_ms", _NEWEST))
    waits = [run for _, run in sorted((one.key for one in tx.tally(EndedRun, rows)), reverse=True)]
    tried = tx.tally(EndedRun, Grouping(by=("retry_of",), among={"retry_of": tuple(waits)})) if waits else []
    done = {one.key[0] for one in tried}.union(seen_to)
    return [run for run in waits if run not in done]


def _list_more(many: int) -> Iterator[BriefLine]:
    if many > 0:
        what = f"{many} older runs failed or have a change that is not landed"
        yield {"run": None, "what": what, "task": "", "command": "pancode runs --since 7d", "kind": "review"}


def _list_sick(nodes: list[Node]) -> Iterator[BriefLine]:
    for node in nodes:
        why = node.quarantined or node.paused
        if why is not None and node.removed is None:
            command = f"pancode node show {node.name}"
            what = f"{node.name}: {why}"
            yield {"run": None, "what": what, "task": "", "command": command, "kind": "node"}


def _list_unknown(runs: int) -> Iterator[BriefLine]:
    if runs:
        command, what = "pancode budget settle RUN --usd X", f"runs of unknown cost today: {runs}"
        yield {"run": None, "what": what, "task": "", "command": command, "kind": "money"}


def _make_disputed(run: str, usd: Decimal) -> BriefLine:
    more = format_usd(usd)
    words = f"its node reports {more} above its job's limit; no budget counts that until you settle it"
    command = f"pancode budget settle {run} --usd X"
    return {"run": run, "what": words, "task": "", "command": command, "kind": "money"}


def list_landed(core: Core, tx: Transaction, begin: int) -> Iterator[BriefLine]:
    """Yield the landings that are still in the feed, once per run."""
    landings = [e for e in core.feed.newest(_EVENTS) if e.kind is EventKind.RUN_LANDING and e.at_ms >= begin]
    for name in dict.fromkeys(event.run for event in reversed(landings) if event.data.get("commit")):
        run = tx.get(Run, name) if name is not None else None
        if run is not None and run.landed:
            where = f"as {run.landed[:12]}" if run.landing.get("made") else "in your files"
            yield line_of(run, f"landed {where}", "pancode diff {run}")
