"""What a user sees first is arranged from one snapshot: each thing once, and what needs them whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pancode.kernel.formatting import format_title, format_to_do
from pancode.reports.now import Snapshot, arrange_now

AT, LATER = "2026-11-28T09:00:00.000Z", "2026-11-28T09:04:00.000Z"


def node(name: str, **more: Any) -> Any:
    facts = {"name": name, "state": "online", "since": AT, "slots": {"used": 1, "total": 4}, "problems": []}
    programs = [{"name": "claude", "state": "ok", "served": False}]
    return {**facts, "runtimes": programs, "endpoints": [], "gpus": [], **more}


def run(name: str, status: str, task: str = "mend it", **more: Any) -> Any:
    facts: dict[str, Any] = {"run": name, "status": status, "task": task, "node": "n1", "agent": "builder"}
    facts |= {"runtime": "claude", "model": None, "started_at": AT, "finished_at": None, "outcome": None}
    return {**facts, "usage": {"cost_usd": "0.12"}, "verification": None, "reason": "for a slot", **more}


def item(name: str, kind: str, **more: Any) -> Any:
    facts = {
        "id": f"i-{name}",
        "run": name,
        "kind": kind,
        "since": AT,
        "words": "keep the column?\nor rename it",
    }
    return {
        **facts,
        "choices": [],
        "command": "pancode x",
        "yes": [],
        "call": None,
        "whole": "",
        "title": "mend it",
        "plan": None,
        **more,
    }


def review(name: str) -> Any:
    what = "has a change that is not landed"
    return {"run": name, "what": what, "task": "", "command": f"pancode land {name}", "kind": "review"}


def snapshot(count: int, *nodes: Any, **more: Any) -> Snapshot:
    """A fleet with so many of everything."""
    numbers = range(count)
    trusts: Mapping[int, Any] = {0: {"state": "partly"}}
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
        "items": [item(f"r-q{n}", "question") for n in numbers],
        "also": [review(f"r-l{n}") for n in numbers],
        "known": {f"r-l{n}": run(f"r-l{n}", "to_land", verification=trusts.get(n)) for n in numbers},
        "runs": [*active, run("r-chat", "waiting_for_you"), *(run(f"r-w{n}", "waiting") for n in numbers)],
        "unlisted": 0,
        "ended": [],
        "ends": {"done": 2, "verify_failed": 1},
        "landed": 1,
        "nodes": [*(node(f"n{n}") for n in numbers), *nodes],
        "sick": {},
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
    names = {name: [one["run"] for one in now[name]] for name in ("needs", "working", "waiting", "chats")}
    assert names == {"needs": ["r-q0"], "working": ["r-1", "r-4"], "waiting": ["r-2"], "chats": ["r-3"]}


def test_waiting_runs_that_are_not_listed_count() -> None:
    assert arrange_now(snapshot(3, unlisted=400))["waiting_count"] == 403


def test_questions_stand_before_approvals_and_those_before_what_is_broken() -> None:
    broken = {
        "run": "r-3",
        "what": "did not pass its gates",
        "task": "# Sort it",
        "command": "pancode runs show r-3",
    }
    stuck = {
        "run": None,
        "what": "the fleet is paused",
        "task": "",
        "command": "pancode fleet resume --queue",
    }
    plan = {"task": "#!/bin/sh\n# Drop the old tables\nrm -rf data", "digest": "d"}
    dispatch = item("r-1", "dispatch", plan=plan, title="Drop the old tables")
    items = [dispatch, item("r-2", "call", words="rm -rf build   (rule)", title="Tidy")]
    known = {
        "r-2": run("r-2", "running", "Tidy"),
        "r-3": run("r-3", "gate_failed", "# Sort it\nx", outcome="verify_failed"),
    }
    needs = arrange_now(snapshot(0, items=items, also=[broken, stuck], known=known))["needs"]
    assert [(one["kind"], one["title"]) for one in needs] == [
        ("call", "Tidy"), ("dispatch", "Drop the old tables"), ("gate_failed", "Sort it"),
        ("broken", "the fleet is paused"),
    ]  # fmt: skip
    assert needs[0]["approves"] == "rm -rf build   (rule)"
    assert needs[1]["approves"] == plan["task"], "all that a yes approves"
    assert [one["item"] is not None for one in needs] == [True, True, False, False]


def test_reviews_are_one_line_and_money_and_nodes_have_their_own_places() -> None:
    money = {
        "run": "r-9",
        "what": "disputed",
        "task": "",
        "command": "pancode budget settle",
        "kind": "money",
    }
    sick = {"run": None, "what": "n0: dirty", "task": "", "command": "pancode node show n0", "kind": "node"}
    there = snapshot(3, node("attic", state="lost"), sick={"n0": "dirty"})
    now = arrange_now(
        snapshot(3, node("attic", state="lost"), sick={"n0": "dirty"}, also=[*there.also, money, sick])
    )
    assert now["review"] == {"changes": 3, "verified": 1, "command": "pancode inbox review"}
    assert [(one["node"], one["words"]) for one in now["nodes"]] == [("n0", "dirty"), ("attic", "is lost")]
    assert [one["what"] for one in now["money"]["notes"]] == ["disputed"] and len(now["needs"]) == 3
    assert now["ended"]["states"] == {"done": 2, "gate_failed": 1, "landed": 1} and now["ended"]["count"] == 3


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((0, 0, 0), ""),
        ((1, 0, 0), "1 thing needs you"),
        ((0, 1, 0), "1 change to review"),
        ((2, 15, 13), "2 things need you, 15 changes to review, 13 verified"),
    ],
)
def test_what_there_is_to_do_is_one_line(counts: tuple[int, int, int], told: str) -> None:
    assert format_to_do(*counts) == told


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
