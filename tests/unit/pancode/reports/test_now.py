"""What a user sees first is arranged from one snapshot: each thing once, and what needs them whole."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.kernel.formatting import format_title
from pancode.reports.needs import list_troubles
from pancode.reports.now import Snapshot, arrange_now
from pancode.runs.answers import Need, NeedGroup

AT, LATER = "2026-11-28T09:00:00.000Z", "2026-11-28T09:04:00.000Z"


def node(name: str, **more: Any) -> Any:
    facts = {"name": name, "state": "online", "since": AT, "slots": {"used": 1, "total": 4}, "problems": []}
    programs = [{"name": "claude", "state": "ok", "served": False}]
    return {**facts, "runtimes": programs, "endpoints": [], "gpus": [], **more}


def run(name: str, status: str, task: str = "mend it", **more: Any) -> Any:
    facts: dict[str, Any] = {"run": name, "status": status, "task": task, "node": "n1", "agent": "builder"}
    facts |= {"runtime": "claude", "model": None, "started_at": AT, "finished_at": None, "outcome": None}
    return {**facts, "usage": {"cost_usd": "0.12"}, "verification": None, "reason": "for a slot", **more}


def need(name: str, group: NeedGroup, state: str, **more: Any) -> Need:
    facts: dict[str, Any] = {"title": "mend it", "headline": "keep the column?", "command": "pancode x"}
    return Need(name, group, state, **{**facts, "since": AT, "run": name, "usd": "0.12", **more})


def snapshot(count: int, *nodes: Any, **more: Any) -> Snapshot:
    """A fleet with so many of everything."""
    numbers = range(count)
    day = {
        "scope": "day:2026-11-28",
        "spent_usd": "2.92",
        "ceiling_usd": "10",
        "held_usd": "0.75",
        "over": False,
    }
    active = [run(f"r-{n}", "running", "mend it " * 30) for n in numbers]
    budget: Any = {"scopes": [{**day, "unknown_runs": 1}]}
    facts: dict[str, Any] = {
        "needs": [
            *(need(f"r-q{n}", NeedGroup.ASKS, "question") for n in numbers),
            *(need(f"r-l{n}", NeedGroup.TO_LAND, "to_land") for n in numbers),
            *list_troubles(nodes, {}),
        ],
        "notes": [],
        "runs": [*active, run("r-chat", "waiting_for_you"), *(run(f"r-w{n}", "waiting") for n in numbers)],
        "unlisted": 0,
        "ended": [],
        "ends": {"done": 2, "verify_failed": 1},
        "landed": 1,
    }
    return Snapshot(now=LATER, since=AT, budget=budget, **{**facts, **more})


def test_a_run_stands_in_one_place_and_a_chat_that_waits_is_not_at_work() -> None:
    asks = run("r-q0", "running")
    now = arrange_now(
        snapshot(
            1,
            runs=[
                asks,
                run("r-1", "verifying"),
                run("r-2", "placed"),
                run("r-3", "waiting_for_you"),
                run("r-4", "unknown"),
            ],
        )
    )
    lists = {"working": now.working, "waiting": now.waiting, "chats": now.chats}
    names = {name: [one["run"] for one in runs] for name, runs in lists.items()}
    assert names == {"working": ["r-1", "r-4"], "waiting": ["r-2"], "chats": ["r-3"]}
    assert [one.run for one in now.needs] == ["r-q0", "r-l0"]


def test_waiting_runs_that_are_not_listed_count() -> None:
    assert arrange_now(snapshot(3, unlisted=400)).waiting_count == 403


def test_questions_stand_before_approvals_and_the_newest_failure_first() -> None:
    needs = [
        need("i-1", NeedGroup.ASKS, "dispatch", since=AT),
        need("i-2", NeedGroup.ASKS, "question", since=LATER),
        need("r-1", NeedGroup.FAILED, "error", since=AT),
        need("r-2", NeedGroup.FAILED, "timeout", since=LATER),
        *list_troubles([node("n0"), node("attic", state="lost")], {"n0": "dirty"}),
    ]
    now = arrange_now(snapshot(0, needs=needs))
    assert [one.id for one in now.needs] == ["i-2", "i-1", "r-2", "r-1", "node:n0", "node:attic"]
    assert [(one.node, one.headline) for one in now.groups[-1].needs] == [
        ("n0", "dirty"),
        ("attic", "is lost"),
    ]
    assert [one.count for one in now.groups] == [2, 2, 0, 0, 2] and now.count == 6
    assert now.summary == "6 need you: 2 asking, 2 failed, 2 of nodes"
    assert arrange_now(snapshot(0)).summary == ""


def test_what_has_ended_is_counted_by_state() -> None:
    ended = arrange_now(snapshot(1, ended=[run("r-q0", "done"), run("r-9", "done")])).ended
    assert ended["states"] == {"done": 2, "gate_failed": 1, "landed": 1} and ended["count"] == 3
    assert [one["run"] for one in ended["runs"]] == ["r-9"], "what needs the user is listed once"


@pytest.mark.parametrize(
    ("task", "title"),
    [
        ("Sort it\nand more", "Sort it"),
        ("\n\n  # Cut the logo\nrm x", "Cut the logo"),
        ("#!/bin/sh\n## Two\n", "Two"),
        ("", ""),
    ],
)
def test_a_run_is_named_by_the_first_line_of_its_task(task: str, title: str) -> None:
    assert format_title(task) == title
