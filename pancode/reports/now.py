"""Arranges what a user sees first: what needs them, what to review, working runs, nodes with problems, what
has ended, and costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pancode.budget.answers import BudgetShape
from pancode.fleet.answers import NodeShape
from pancode.fleet.fleet import list_nodes
from pancode.kernel.formatting import STATUSES, format_title
from pancode.kernel.records import EndedRun, Node, Run, RunState
from pancode.reports.answers import (
    EndedShape,
    MoneyShape,
    NeedShape,
    NodeTrouble,
    NowAnswer,
    ReviewShape,
    WorkingRun,
)
from pancode.reports.brief import also_waits, ends_since, last_look, list_landed
from pancode.runs.answers import BriefLine, InboxShape, RunShape
from pancode.runs.core import Core
from pancode.runs.life.inbox import BEFORE_START, ItemKind
from pancode.runs.lists import since_ms
from pancode.runs.placement.placement import in_order
from pancode.runs.views import format_iso, run_shape

MOST_WORKING, MOST_WAITING, MOST_ENDED = 1_000, 100, 20
UP = ("online", "draining", "drained")
"""The states of a node that sends heartbeats."""
_ASKS = (ItemKind.QUESTION, ItemKind.PERMISSION, ItemKind.CALL)
_VERIFIED = ("verified", "partly")
WAITS_FOR_YOU = "waiting_for_you"
_NOT_BEGUN = ("waiting", "placed")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one moment. `also`: what waits for a user besides questions. `known`: the runs of both, by
    id. `runs`: those that have not ended; `unlisted`: how many more wait. `ends`: number of runs that ended
    since `since`, by outcome. `landed`: number of landings since then. `sick`: why a node accepts no work, by
    node."""

    now: str
    since: str
    items: Sequence[InboxShape]
    also: Sequence[BriefLine]
    known: Mapping[str, RunShape]
    runs: Sequence[WorkingRun]
    unlisted: int
    ended: Sequence[RunShape]
    ends: Mapping[str, int]
    landed: int
    nodes: Sequence[NodeShape]
    sick: Mapping[str, str]
    budget: BudgetShape


def arrange_now(seen: Snapshot) -> NowAnswer:
    """Return the arranged state. Each run is in one list only: one needing the user is not in `working`."""
    needed = {item["run"] for item in seen.items}
    rest = [run for run in seen.runs if run["run"] not in needed]
    waiting = [run for run in rest if run["status"] in _NOT_BEGUN]
    return {
        "as_of": seen.now,
        "needs": list_needs(seen),
        "review": count_reviews(seen),
        "working": [run for run in rest if run["status"] not in (*_NOT_BEGUN, WAITS_FOR_YOU)],
        "waiting": waiting,
        "waiting_count": len(waiting) + seen.unlisted,
        "chats": [run for run in rest if run["status"] == WAITS_FOR_YOU],
        "nodes": list_troubles(seen.nodes, seen.sick),
        "ended": count_ends(seen),
        "money": sum_money(seen),
    }


def list_needs(seen: Snapshot) -> list[NeedShape]:
    """Return the questions, then the approvals, then the problems; each oldest first."""
    questions = [item for item in seen.items if item["kind"] in _ASKS]
    approvals = [item for item in seen.items if item["kind"] not in _ASKS]
    broken = [line for line in seen.also if line.get("kind", "broken") == "broken"]
    return [
        *(need_of_item(item, seen.known.get(item["run"])) for item in (*questions, *approvals)),
        *(need_of_line(line, seen.known.get(line["run"] or "")) for line in broken),
    ]


def need_of_item(item: InboxShape, run: RunShape | None) -> NeedShape:
    """Return what the user must decide for an inbox item, with everything that an approval covers."""
    plan = item["plan"] or {}
    approves = str(plan.get("task", "")) if item["kind"] in BEFORE_START else item["words"]
    return {
        "kind": item["kind"],
        "run": item["run"],
        "node": run["node"] if run is not None else None,
        "title": item["title"] or item["run"],
        "words": item["words"],
        "approves": "" if item["kind"] in (ItemKind.QUESTION, ItemKind.PERMISSION) else approves,
        "command": item["command"],
        "since": item["since"],
        "item": item,
    }


def need_of_line(line: BriefLine, run: RunShape | None) -> NeedShape:
    return {
        "kind": "broken" if run is None or run["outcome"] is None else run["status"],
        "run": line["run"],
        "node": run["node"] if run is not None else None,
        "title": format_title(run["task"] if run is not None else line["task"]) or line["what"],
        "words": line["what"],
        "approves": "",
        "command": line["command"],
        "since": run["finished_at"] if run is not None else None,
        "item": None,
    }


def count_reviews(seen: Snapshot) -> ReviewShape:
    """Return the number of changes to review, and how many of them passed their gates."""
    names = [line["run"] for line in seen.also if line.get("kind") == "review" and line["run"]]
    trusts = [seen.known[name]["verification"] for name in names if name in seen.known]
    return {
        "changes": len(names),
        "verified": sum(one is not None and one["state"] in _VERIFIED for one in trusts),
        "command": "pancode inbox review",
    }


def list_troubles(nodes: Sequence[NodeShape], sick: Mapping[str, str]) -> list[NodeTrouble]:
    """Return the nodes that are silent, accept no work or have a problem."""
    return [
        {
            "node": node["name"],
            "state": node["state"],
            "since": node["since"],
            "words": sick.get(node["name"])
            or (node["problems"][0]["what"] if node["problems"] else f"is {node['state']}"),
            "command": f"pancode doctor {node['name']}",
        }
        for node in nodes
        if node["state"] not in UP or node["problems"] or node["name"] in sick
    ]


def count_ends(seen: Snapshot) -> EndedShape:
    """Return what has ended; `runs` omits those that need the user or a review."""
    shown = {*(item["run"] for item in seen.items), *(line["run"] for line in seen.also)}
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
        "notes": [line for line in seen.also if line.get("kind") == "money"],
    }


def see_now(
    core: Core, inbox: list[InboxShape], by: str, budget: BudgetShape, left: str | None = None
) -> NowAnswer:
    """Read the state once and arrange it. `inbox`: all questions; `by`: the user whose last visit counts.
    `left`: the time of that visit; None: as recorded. UsageError if it is not a time."""
    also, nodes = also_waits(core, inbox), list_nodes(core)
    with core.ports.ledger.transaction() as tx:
        since = last_look(tx, by, core.wall_ms()) if left is None else since_ms(core, left)
        states = [state for state in RunState if state not in (RunState.ENDED, RunState.PENDING)]
        begun = [run for state in states for run in tx.find(Run, {"state": state}) if run.judges is None]
        active = sorted(begun, key=lambda run: run.created_ms)
        asked = {item["run"] for item in inbox}
        waiting = (run for run in tx.find(Run, {"state": RunState.PENDING}) if run.judges is None)
        pending = [run for run in in_order(waiting) if run.id not in asked]
        newest = tx.find(EndedRun, order="ended_ms", descending=True, limit=3 * MOST_ENDED)
        ended = [row.run for row in newest if row.ended_ms >= since and not row.judges][:MOST_ENDED]
        names = {*asked, *(line["run"] for line in also)}
        ends, landed = ends_since(tx, since), len(list(list_landed(core, tx, since)))
        sick = {node.name: why for node in tx.find(Node) if (why := node.quarantined or node.paused)}

        def shapes(found: Collection[str | None]) -> list[RunShape]:
            runs = (tx.get(Run, name) for name in found if name)
            return [run_shape(core, tx, run) for run in runs if run is not None]

        seen = Snapshot(
            now=format_iso(core.wall_ms()),
            since=format_iso(since),
            items=inbox,
            also=also,
            known={run["run"]: run for run in shapes(names)},
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
            nodes=nodes,
            sick=sick,
            budget=budget,
        )
    return arrange_now(seen)
