"""Who goes where, in one order over all, and a stated reason for everyone who waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.wire.node import Allowed
from node_agent.wire.policy import Isolation, Safety
from pancode.kernel.node import NodeState, NodeView
from pancode.kernel.records import Run, WaitReason
from pancode.runs.placement.placement import (
    Placed,
    Standing,
    Unplaced,
    decide_placements,
    in_order,
    is_unheld,
    pool_of,
)
from tests.unit.pancode.kernel.fleets import node, resolved


def run(name: str, **options: Any) -> Run:
    base = resolved(runtime="shell", task="make").run(name, options.pop("created_ms", 1), "t", {})
    return replace(base, **options)


def standing(*nodes: NodeView, free: int = 1, **options: Any) -> Standing:
    return Standing(nodes, {view.node.name: free for view in nodes}, **options)


def said(run: Run, at: Standing) -> str:
    decision = next(decide_placements([run], at))
    assert isinstance(decision, Unplaced)
    return decision.why


def test_priority_then_age_then_id() -> None:
    runs = [
        run("r-4", priority=-1),
        run("r-3", created_ms=2),
        run("r-2"),
        run("r-1"),
        run("r-0", priority=5, created_ms=9),
    ]
    assert [r.id for r in in_order(runs)] == ["r-0", "r-1", "r-2", "r-3", "r-4"]


def test_the_node_with_most_free_slots_then_by_name() -> None:
    at = Standing((node("b"), node("c"), node("a")), {"a": 1, "b": 2, "c": 2})
    placed = list(decide_placements([run(f"r-{n}") for n in range(6)], at))
    assert [p.node.node.name if isinstance(p, Placed) else None for p in placed] == [
        "b",
        "c",
        "a",
        "b",
        "c",
        None,
    ]


def test_a_copy_of_the_repository_is_worth_one_free_slot() -> None:
    has, far = node("b", repositories=("p-1",)), node("a")
    one = run("r-1", workspace={"kind": "git", "repo": "p-1"})
    near = next(decide_placements([one], Standing((has, far), {"a": 2, "b": 2})))
    assert isinstance(near, Placed) and near.node is has and "it already has the repository" in near.why
    spread = next(decide_placements([one], Standing((has, far), {"a": 4, "b": 2})))
    assert isinstance(spread, Placed) and spread.node is far


def test_the_node_that_keeps_its_session_comes_before_one_with_more_room() -> None:
    one = run("r-1", terms={"own_session": {"node": "b", "session": "s"}})
    placed = next(decide_placements([one], Standing((node("a"), node("b")), {"a": 3, "b": 1})))
    assert (
        isinstance(placed, Placed) and placed.node.node.name == "b" and "has the run's session" in placed.why
    )


def test_what_set_up_made_there_is_worth_one_more_and_the_numbers_are_told() -> None:
    has, far = node("b", repositories=("p-1",), set_ups=("p-1",)), node("a", repositories=("p-1",))
    one = run("r-1", workspace={"kind": "git", "repo": "p-1"})
    near = next(decide_placements([one], Standing((has, far), {"a": 2, "b": 2})))
    assert isinstance(near, Placed) and near.node is has
    assert "most free slots (2)" in near.why and "it has the results of setup, worth a slot" in near.why
    even = next(decide_placements([one], Standing((has, far), {"a": 3, "b": 2})))
    assert isinstance(even, Placed) and even.node is far, "as good: then by name"
    other = replace(one, workspace={"kind": "git", "repo": "p-2"})
    spread = next(decide_placements([other], Standing((has, far), {"a": 2, "b": 2})))
    assert isinstance(spread, Placed) and spread.node is far and "set-up" not in spread.why


def test_in_a_hurry_the_reason_is_told_where_a_machine_decides_by_itself() -> None:
    hurry = "the day's budget would be spent in 6 min"
    bounded, fixed = replace_node(node("a"), least=1), node("b")
    told = said(run("r-1"), standing(bounded, fixed, free=0, hurry=hurry))
    assert told == f"a is busy, no free slot: it opens no more than 1 now, {hurry}; b is busy, no free slot"


def replace_node(view: NodeView, **changes: Any) -> NodeView:
    return replace(view, node=replace(view.node, **changes))


def test_who_pinned_a_run_is_told() -> None:
    def why(**options: Any) -> str:
        (placed,) = decide_placements([run("r-1", node="b", **options)], standing(node("a"), node("b")))
        assert isinstance(placed, Placed)
        return placed.why

    by = {"terms": {"model_from": "models.worker (pancode.yaml:3)"}}
    assert why() == why(asked_model="ollama/x", **by) == "pinned by --node"
    assert (
        why(asked_model="b/ollama/x", **by)
        == "pinned by its model b/ollama/x (models.worker (pancode.yaml:3))"
    )


def test_a_pinned_run_waits_for_its_node_and_goes_nowhere_else() -> None:
    at = Standing((node("a"), node("b", state=NodeState.UNREACHABLE)), {"a": 4, "b": 4})
    assert said(run("r-1", node="b"), at) == "b is unreachable, as it sends no heartbeats"
    assert said(run("r-1", node="zzz"), at) == "node zzz is not in the fleet"


@pytest.mark.parametrize(
    ("options", "view", "free", "why", "kind"),
    [
        ({}, node("a"), 0, "a is busy, no free slot", WaitReason.NO_SLOT),
        ({}, node("a", paused="lunch"), 1, "a is paused: lunch", WaitReason.NODE_AWAY),
        ({}, node("a", draining="kernel"), 1, "a is draining: kernel", WaitReason.NODE_AWAY),
        (
            {},
            node("a", state=NodeState.SUSPECT),
            1,
            "a is suspect, as it sends no heartbeats",
            WaitReason.NODE_AWAY,
        ),
        ({}, node("a", mute=True), 1, "a has not requested work yet", WaitReason.NODE_AWAY),
        ({"require": {"gpu": "y"}}, node("a"), 1, "a has no label gpu=y", WaitReason.NO_NODE),
        ({"runtime": "claude"}, node("a", {"shell": "ok"}), 1, "a has no runtime claude", WaitReason.NO_NODE),
        (
            {"runtime": "claude"},
            node("a", {"claude": "not_logged_in"}),
            1,
            "a has runtime claude, which is not logged in: pancode node show a",
            WaitReason.NO_NODE,
        ),
        (
            {"runtime": "claude"},
            node("a", {"claude": "looking"}),
            1,
            "a is still checking whether it has runtime claude",
            WaitReason.NO_NODE,
        ),
        ({}, node("a", removed="removed"), 1, "a removed", WaitReason.NO_NODE),
    ],
)
def test_every_wait_has_its_reason(
    options: dict[str, Any], view: NodeView, free: int, why: str, kind: WaitReason
) -> None:
    decision = next(decide_placements([run("r-1", **options)], standing(view, free=free)))
    assert isinstance(decision, Unplaced) and (decision.why, decision.kind) == (why, kind)


def test_a_chat_waits_for_the_adapter_of_its_program_and_other_runs_do_not() -> None:
    view = node("a", {"claude": "ok"})
    assert view.last is not None
    lacks = "claude-agent-acp is missing: npm install it"
    facts = view.last.heartbeat.facts
    fact = facts.runtimes[0].model_copy(update={"no_turns": lacks})
    heartbeat = view.last.heartbeat.model_copy(
        update={"facts": facts.model_copy(update={"runtimes": (fact,)})}
    )
    view = replace(view, last=replace(view.last, heartbeat=heartbeat))
    (waits,) = decide_placements(
        [run("r-1", runtime="claude", terms={"turns": {"idle_ms": 1}})], standing(view)
    )
    assert isinstance(waits, Unplaced) and waits.why == f"a does not support chats with claude: {lacks}"
    (goes,) = decide_placements([run("r-1", runtime="claude")], standing(view))
    assert isinstance(goes, Placed)


def test_who_asks_for_less_does_not_wait_for_the_reason_of_another() -> None:
    """All wait in one order, and only those that ask for the same share a reason."""
    strict = node("a", allows=Allowed(safety=Safety.AUTO_EDIT))
    bold = [run(f"r-{n}", safety=Safety.FULL_AUTO, told_only=True) for n in range(2)]
    decided = list(
        decide_placements(
            [*bold, run("r-9", safety=Safety.AUTO_EDIT, told_only=True)], standing(strict, free=3)
        )
    )
    assert [type(d) for d in decided] == [Unplaced, Unplaced, Placed]


def test_what_a_node_without_a_sandbox_cannot_hold_keeps_nobody_else() -> None:
    bare = node("a", {"claude": "ok"})
    asked = [replace(run(f"r-{n}"), runtime="claude", safety=Safety.FULL_AUTO) for n in range(2)]
    told = replace(asked[1], told_only=True, id="r-told")
    held, free = decide_placements([asked[0], told], standing(bare, free=2))
    assert isinstance(held, Unplaced) and "no sandbox" in held.why
    assert isinstance(free, Placed)


def test_an_agent_that_runs_only_in_a_sandbox_waits_for_one() -> None:
    walled, free = run("r-1", terms={"walled": True}), run("r-2")
    bare = node("bare")
    assert said(walled, standing(bare)) == (
        "bare has no sandbox, but its agent, or the run that started it, requires one (isolation: container)"
    )
    both = standing(bare, node("inside", isolation=Isolation.SANDBOX))
    placed = list(decide_placements([walled, free], both))
    assert [p.node.node.name if isinstance(p, Placed) else None for p in placed] == ["inside", "bare"]
    fenced = standing(node("fenced", isolation=Isolation.LANDLOCK))
    assert "has no sandbox" in said(walled, fenced), "the lesser sandbox is none"


def test_pauses_of_the_fleet_and_of_a_queue() -> None:
    assert said(run("r-1"), standing(node("a"), paused="deploy")) == "the fleet is paused: deploy"
    pinned = run("r-1", node="a")
    assert "queue node.a is paused: x" in said(pinned, standing(node("a"), paused_queues={"node.a": "x"}))
    assert said(run("r-1"), standing()) == "the fleet has no nodes"


def test_pools() -> None:
    assert [
        pool_of(r) for r in (run("r-1"), run("r-1", node="a"), run("r-1", require={"b": "1", "a": "2"}))
    ] == [
        "any",
        "node.a",
        "a=2+b=1",
    ]


@given(
    st.lists(
        st.tuples(st.integers(-2, 2), st.integers(0, 3), st.sampled_from([None, "a", "b"])), max_size=12
    ),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(-1, 3)),
)
def test_slots_are_never_exceeded_and_no_free_slot_is_left_for_one_who_fits(
    asked: list[tuple[int, int, str | None]], free: dict[str, int]
) -> None:
    runs = [run(f"r-{n}", priority=p, created_ms=c, node=pin) for n, (p, c, pin) in enumerate(asked)]
    at = Standing(tuple(node(name) for name in free), free)
    said = list(decide_placements(in_order(runs), at))
    assert [d.run.id for d in said] == [r.id for r in in_order(runs)]
    quick = list(decide_placements(in_order(runs), at, whole=False))
    assert quick == said[: len(quick)] and not any(isinstance(d, Placed) for d in said[len(quick) :])
    left = dict(free)
    for decision in said:
        pin = decision.run.node
        if isinstance(decision, Placed):
            name = decision.node.node.name
            assert pin in (None, name)
            left[name] -= 1
            assert left[name] >= 0
        else:
            assert decision.why
            assert all(count <= 0 for name, count in left.items() if pin in (None, name))


def test_what_must_be_held_goes_only_where_something_holds_it() -> None:
    """A node may lose its sandbox after admission."""
    wild = run("r-1", safety=Safety.FULL_AUTO, workspace={"kind": "git"})
    walled, bare = node("a", isolation=Isolation.SANDBOX), node("b")
    lesser = node("c", isolation=Isolation.LANDLOCK)
    placed = next(decide_placements([wild], standing(bare, lesser, walled)))
    assert isinstance(placed, Placed) and placed.node.node.name == "a"
    assert "c has no sandbox" in said(wild, standing(lesser))
    assert "b has no sandbox, and nothing else there enforces full-auto on shell" in said(
        wild, standing(bare)
    )
    told = replace(wild, told_only=True)
    assert isinstance(next(decide_placements([told], standing(bare))), Placed)


def test_a_child_goes_unheld_only_where_its_record_allows_it() -> None:
    """That it is a program of one's own counts for a user, not for a run that is itself held."""
    bare, walled = node("a"), node("b", isolation=Isolation.SANDBOX)
    mine = run("r-1", safety=Safety.AUTO_EDIT, workspace={"kind": "git"})
    child = replace(mine, id="r-2", parent="r-0", depth=1)
    assert isinstance(next(decide_placements([mine], standing(bare))), Placed)
    assert "nothing else there enforces auto-edit on shell" in said(child, standing(bare))
    assert isinstance(next(decide_placements([child], standing(walled))), Placed)
    assert isinstance(next(decide_placements([replace(child, told_only=True)], standing(bare))), Placed)
    claimed = replace(mine, id="r-3", depth=1)
    decided = list(decide_placements([child, claimed], standing(bare)))
    assert [type(d) for d in decided] == [Unplaced, Placed], "the reason of the one is not that of the other"


@pytest.mark.parametrize(
    ("options", "unheld"),
    [
        ({"safety": Safety.AUTO_EDIT}, True),
        ({"safety": Safety.FULL_AUTO}, False),
        ({"safety": Safety.FULL_AUTO, "told_only": True}, True),
        ({"safety": Safety.AUTO_EDIT, "read_only": True}, False),
        ({"safety": Safety.AUTO_EDIT, "parent": "r-0", "depth": 1}, False),
        ({"safety": Safety.AUTO_EDIT, "parent": "r-0", "depth": 1, "told_only": True}, True),
        ({"runtime": "claude", "safety": Safety.AUTO_EDIT}, False),
    ],
)
def test_who_may_start_what_nothing_holds(options: dict[str, Any], unheld: bool) -> None:
    assert is_unheld(run("r-1", workspace={"kind": "git"}, **options)) is unheld
