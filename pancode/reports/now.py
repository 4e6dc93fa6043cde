"""Arranges what a user sees first: what needs them, what to review, working runs, nodes with problems, what
has ended, and costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pancode.budget.answers import BudgetShape
from pancode.kernel.formatting import STATUSES
from pancode.kernel.records import EndedRun, Run, RunState
from pancode.reports.answers import EndedShape, MoneyShape, NeedsOfGroup, NowAnswer, WorkingRun
from pancode.reports.brief import ends_since, last_look, list_cost_notes, list_landed
from pancode.reports.needs import group_needs, list_needs
from pancode.runs.answers import BriefLine, Need, NeedGroup, RunShape
from pancode.runs.core import Core
from pancode.runs.lists import since_ms
from pancode.runs.placement.placement import in_order
from pancode.runs.views import format_iso, run_shape

MOST_WORKING, MOST_WAITING, MOST_ENDED = 1_000, 100, 20
WAITS_FOR_YOU = "waiting_for_you"
_NOT_BEGUN = ("waiting", "placed")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one moment. `needs`: everything that needs a user. `notes`: costs that a user must settle.
    `runs`: those that have not ended; `unlisted`: how many more wait. `ends`: number of runs that ended since
    `since`, by outcome. `landed`: number of landings since then."""

    now: str
    since: str
    needs: Sequence[Need]
    notes: Sequence[BriefLine]
    runs: Sequence[WorkingRun]
    unlisted: int
    ended: Sequence[RunShape]
    ends: Mapping[str, int]
    landed: int
    budget: BudgetShape


def arrange_now(seen: Snapshot) -> NowAnswer:
    """Return the arranged state. Each run is in one list only: one needing the user is not in `working`."""
    needed, groups = {one.run for one in seen.needs}, group_needs(seen.needs)
    rest = [run for run in seen.runs if run["run"] not in needed]
    waiting = [run for run in rest if run["status"] in _NOT_BEGUN]
    return NowAnswer(
        as_of=seen.now,
        count=sum(one.count for one in groups),
        summary=summarize(groups),
        groups=groups,
        working=[run for run in rest if run["status"] not in (*_NOT_BEGUN, WAITS_FOR_YOU)],
        waiting=waiting,
        waiting_count=len(waiting) + seen.unlisted,
        chats=[run for run in rest if run["status"] == WAITS_FOR_YOU],
        ended=count_ends(seen),
        money=sum_money(seen),
    )


def summarize(groups: Sequence[NeedsOfGroup]) -> str:
    """Return how many needs each group has: `3 need you: 1 asks you, 2 to land`; empty: none."""
    count = sum(one.count for one in groups)
    parts = ", ".join(f"{one.count} {_IN_WORDS[one.group]}" for one in groups if one.count)
    return f"{count} need{'s' * (count == 1)} you: {parts}" if count else ""


_IN_WORDS: Mapping[NeedGroup, str] = {
    NeedGroup.ASKS: "asking",
    NeedGroup.FAILED: "failed",
    NeedGroup.TO_LAND: "to land",
    NeedGroup.PULLS: "of pull requests",
    NeedGroup.NODES: "of nodes",
}


def count_ends(seen: Snapshot) -> EndedShape:
    """Return what has ended; `runs` omits those that need the user or a review."""
    shown = {one.run for one in seen.needs}
    states = {STATUSES.get(outcome, outcome): count for outcome, count in seen.ends.items()}
    runs = [run for run in seen.ended if run["run"] not in shown]
    states |= {"landed": seen.landed} if seen.landed else {}
    return {"since": seen.since, "count": sum(seen.ends.values()), "states": states, "runs": runs}


def sum_money(seen: Snapshot) -> MoneyShape:
    """Return today's costs, the exceeded ceilings, and the costs that a user must settle."""
    scopes = seen.budget["scopes"]
    return {
        "day": next((one for one in scopes if one["scope"].startswith("day:")), None),
        "over": [one for one in scopes if one["over"]],
        "notes": list(seen.notes),
    }


def see_now(core: Core, by: str, budget: BudgetShape, left: str | None = None) -> NowAnswer:
    """Read the state once and arrange it. `by`: the user whose last visit counts. `left`: the time of that
    visit; None: as recorded. UsageError if it is not a time."""
    needs = list_needs(core)
    with core.ports.ledger.transaction() as tx:
        since = last_look(tx, by, core.wall_ms()) if left is None else since_ms(core, left)
        states = [state for state in RunState if state not in (RunState.ENDED, RunState.PENDING)]
        begun = [run for state in states for run in tx.find(Run, {"state": state}) if run.judges is None]
        active = sorted(begun, key=lambda run: run.created_ms)
        asked = {one.run for one in needs if one.group is NeedGroup.ASKS}
        waiting = (run for run in tx.find(Run, {"state": RunState.PENDING}) if run.judges is None)
        pending = [run for run in in_order(waiting) if run.id not in asked]
        newest = tx.find(EndedRun, order="ended_ms", descending=True, limit=3 * MOST_ENDED)
        ended = [row.run for row in newest if row.ended_ms >= since and not row.judges][:MOST_ENDED]
        notes = list_cost_notes(tx, core.wall_ms())
        ends, landed = ends_since(tx, since), len(list(list_landed(core, tx, since)))

        def shapes(found: Collection[str | None]) -> list[RunShape]:
            runs = (tx.get(Run, name) for name in found if name)
            return [run_shape(core, tx, run) for run in runs if run is not None]

        seen = Snapshot(
            now=format_iso(core.wall_ms()),
            since=format_iso(since),
            needs=needs,
            notes=notes,
            runs=[
                {
                    **run_shape(core, tx, run),
                    "limit_usd": None if (usd := run.limits.get("usd")) is None else str(usd),
                }
                for run in (*active[:MOST_WORKING], *pending[:MOST_WAITING])
            ],
            unlisted=max(0, len(pending) - MOST_WAITING),
            ended=shapes(ended),
            ends=ends,
            landed=landed,
            budget=budget,
        )
    return arrange_now(seen)
