"""What is asked from inside a run: it may look, and dispatch its children; nothing else, whatever it says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.identity import AttemptId
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.app.http_routes import VERBS
from pancode.kernel.records import Audit, Lease, Run
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import Puppet, facts

FOR_RUNS = ("/v1/runs", "/v1/workflows", "/v1/explore", "/v1/config/propose")
"""What a run may ask for: work of its own, and a user's approval to a change."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _inside(world: World, run: str, *nearer: str) -> None:
    """From now on whoever asks is in that run; `nearer`: marks that stand between."""
    marks = tuple(AttemptId(run=name, attempt=1, lease=1) for name in (*nearer, run))
    world.coordinator.inside = marks


def _asked(world: World, **more: Any) -> dict[str, Any]:
    return world.problem("POST", "/v1/runs", world.shell(**more))


def test_every_verb_that_changes_something_is_refused_but_dispatch(world: World) -> None:
    run = world.dispatch()["run"]
    _inside(world, run)
    others = [verb for verb in VERBS if verb.method != "GET" and verb.path not in FOR_RUNS]
    bodies: dict[str, dict[str, Any]] = {
        "/v1/budget/ceiling": {"usd": "1000"},
        "/v1/budget/settle": {"run": run, "usd": "0"},
        "/v1/presets/apply": {"name": "openai-max"},
        "/v1/breakers/reset": {"name": "loop"},
        "/v1/presets/unset": {"by": "ana"},
        "/v1/config/set": {"key": "dispatch.safety", "value": "full-auto"},
        "/v1/projects": {"path": "/"},
        "/v1/projects/mapping": {"projects": [{"path": "/"}]},
        "/v1/workspaces": {"name": "x"},
        "/v1/work": {"issue": "MIN-1"},
        "/v1/plans": {"what": "MIN-1"},
        "/v1/lanes": {"name": "x"},
        "/v1/lanes/{lane}/add": {"task": "x"},
        "/v1/config/unset": {"key": "dispatch.safety"},
        "/v1/runs/{run}/answer": {"text": "yes"},
        "/v1/runs/{run}/comments": {"words": "yes"},
        "/v1/runs/{run}/tell": {"text": "yes"},
        "/v1/runs/{run}/tools/{tool}/keep": {"digest": "0" * 64},
        "/v1/sessions/{run}/words": {"text": "yes"},
        "/v1/sessions/{run}/terms": {"safety": "full-auto", "yes": True},
        "/v1/sessions/{run}/turn": {"what": "rest"},
        "/v1/sessions/{run}/restore": {"name": "1"},
        "/v1/nodes/probe": {"name": "x"},
        "/v1/models/test": {"model": "m"},
        "/v1/nodes": {"name": "x"},
        "/v1/nodes/{node}/fault": {"fault": "link", "run": "r-1"},
        "/v1/nodes/{node}/trust": {"fingerprint": "SHA256:x"},
        "/v1/nodes/{node}/login": {"runtime": "claude"},
        "/v1/nodes/{node}/programs": {"act": "install", "runtimes": ["claude"]},
        "/v1/schedules": {"name": "x", "cron": "@daily", "dispatch": {"task": "x"}},
        "/v1/notify/test": {"channel": "phone"},
        "/v1/runs/{run}/pull-request": {"remote": "origin", "branch": "x"},
        "/v1/tokens": {"name": "x"},
        "/v1/web/session": {"code": "x"},
        "/v1/checkouts/{machine}/{name}/files": {"commit": "a" * 40},
    }
    for verb in others:
        path = verb.path.replace("{run}", run).replace("{node}", "n1").replace("{workflow}", "last")
        path = path.replace("{schedule}", "nightly")
        told = world.problem(
            verb.method, path, bodies.get(verb.path, {"scope": "day"} if "unset" in path else {})
        )
        assert (told["code"], told["exit_code"]) == ("inside_run", 5), (verb.path, told)
        assert run in told["message"] and "started" in told["fix"]
    with world.context.ledger.transaction() as tx:
        told_of = [a for a in tx.find(Audit, {"domain": "trust"}) if a.run == run]
    assert len(told_of) == len(others) and {a.what for a in told_of} == {"refused from inside a run"}
    assert {verb.path for verb in VERBS if verb.for_runs} == set(FOR_RUNS)
    assert world.http.get("/v1/budget").json()["scopes"][0]["ceiling_usd"] == "10"
    assert world.http.get(f"/v1/runs/{run}").status_code == 200


def test_what_it_dispatches_is_its_child_whatever_it_claims(world: World) -> None:
    parent = world.dispatch(priority=3)["run"]
    other = world.dispatch()["run"]
    _inside(world, parent)
    child = world.dispatch(by="ana", priority=900, parent=other)["run"]
    row: Run = world.context.row(Run, child)
    assert (row.parent, row.depth, row.priority, row.created_by) == (parent, 1, 3, parent)
    _inside(world, child)
    told = _asked(world, depth=0, parent=None)
    assert "level 3" in told["message"] and "max_depth" not in told["fix"] and child in told["fix"]
    for asked in ({"land": True, "workspace": None}, {"workspace": "login"}):
        assert _asked(world, **asked)["code"] == "inside_run"


def test_the_outermost_mark_counts_for_it_is_the_one_that_cannot_be_forged(world: World) -> None:
    high, low = (
        world.dispatch()["run"],
        world.dispatch(mode="review", agent="reviewer", told_only=True)["run"],
    )
    _inside(world, low, high, "r-unheard")
    told = _asked(world, mode="build")
    assert low in told["message"]


def test_marks_of_another_fleet_are_none_of_ours(world: World) -> None:
    _inside(world, "r-another")
    assert world.http.post("/v1/budget/ceiling", {"usd": "20"}).status_code == 200
    assert world.context.row(Run, world.dispatch()["run"]).parent is None


@pytest.mark.parametrize("asked", [{}, {"told_only": True}])
def test_what_a_held_run_starts_goes_only_where_something_holds_it(
    world: World, asked: dict[str, Any]
) -> None:
    """The node without a sandbox has more room, and takes users' scripts; admission sees that one fits."""
    walled = Puppet(world.context, "walled", slots=2)
    walled.facts = facts(isolation=Isolation.SANDBOX)
    walled.breathe()
    parent = world.dispatch(safety="full-auto")["run"]
    _inside(world, parent)
    child = world.dispatch(**asked)["run"]
    assert not world.context.row(Run, child).told_only
    world.context.turn()
    bound = {lease.run: lease.node for lease in world.context.rows(Lease)}
    assert bound == {parent: "walled", child: "walled"}


def test_a_script_of_a_run_that_nothing_holds_may_go_where_it_went(world: World) -> None:
    parent = world.dispatch()["run"]
    _inside(world, parent)
    child = world.dispatch()["run"]
    world.context.turn()
    assert {lease.run for lease in world.context.rows(Lease)} == {parent, child}
    job = next(o for o in (world.claim(), world.claim()) if o.identity.run == child)
    assert (job.depth, job.policy.told_only) == (1, True), "the node is told, too"


def test_who_has_ended_before_the_answer_may_not_change_anything(world: World) -> None:
    world.coordinator.inside = None
    assert _asked(world)["code"] == "caller_gone"
    assert world.http.get("/v1/runs").status_code == 200


def test_children_get_no_more_money_than_their_parent_has_left(world: World) -> None:
    parent = world.dispatch(budget="1")["run"]
    _inside(world, parent)
    first = world.context.row(Run, world.dispatch(budget="0.75")["run"])
    second = world.context.row(Run, world.dispatch(budget="500")["run"])
    assert (first.estimate_usd, second.estimate_usd) == (Decimal("0.75"), Decimal("0.25"))
    assert (first.limits["usd"], second.limits["usd"]) == ("0.75", "0.25")
    told = _asked(world, runtime="claude")
    assert "used up its own budget" in told["message"] and parent in told["message"]


def _batch(world: World, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    work = {name: value for name, value in world.shell().items() if name != "by"}
    rows = [{"name": f"{n}", "dispatch": {**work, **one}} for n, one in enumerate(steps)]
    return {"kind": "batch", "steps": rows, **more}


def test_the_steps_of_its_workflow_are_its_children_whatever_it_claims(world: World) -> None:
    parent = world.dispatch(priority=3)["run"]
    other = world.dispatch()["run"]
    _inside(world, parent)
    body = _batch(world, {"priority": 900}, {}, by="ana", parent=other, yes=True)
    answer = world.http.post("/v1/workflows", body)
    assert answer.status_code == 201, answer.text
    rows = [world.context.row(Run, step["run"]) for step in answer.json()["steps"]]
    assert [(run.parent, run.depth, run.priority, run.created_by) for run in rows] == [
        (parent, 1, 3, parent),
        (parent, 1, 0, parent),
    ]
    assert answer.json()["created_by"] == parent
    landing = _batch(world, {"land": True, "workspace": "git"}), _batch(world, {}, land=True)
    for refused in (*landing, _batch(world, {"workspace": "login"}, kind="chain")):
        assert world.problem("POST", "/v1/workflows", refused)["code"] == "inside_run"
    _inside(world, rows[0].id)
    assert "level 3" in world.problem("POST", "/v1/workflows", _batch(world, {}))["message"]


def test_the_steps_of_its_workflow_share_what_it_has_left(world: World) -> None:
    parent = world.dispatch(budget="1")["run"]
    _inside(world, parent)
    answer = world.http.post("/v1/workflows", _batch(world, {"budget": "0.75"}, {"budget": "0.75"}))
    assert answer.status_code == 201, answer.text
    rows = [world.context.row(Run, step["run"]) for step in answer.json()["steps"]]
    assert [run.limits["usd"] for run in rows] == ["0.75", "0.25"]
    before = len(world.context.rows(Run))
    told = world.problem("POST", "/v1/workflows", _batch(world, {"budget": "0.75"}, {"budget": "0.75"}))
    assert "used up its own budget" in told["message"] and len(world.context.rows(Run)) == before


def test_a_child_has_its_whole_limit_from_the_start(world: World) -> None:
    parent = world.dispatch(budget="1")["run"]
    _inside(world, parent)
    agent = {"runtime": "claude", "told_only": True}
    world.node.facts = facts(runtimes=tuple(RuntimeFact(name=n, state="ok") for n in ("shell", "claude")))
    world.node.breathe()
    first = world.context.row(Run, world.dispatch(**agent)["run"])
    assert (first.estimate_usd, first.limits["usd"]) == (Decimal("0.75"), "1")
    assert "used up its own budget" in _asked(world, **agent)["message"]


def test_a_refused_budget_does_not_tell_a_run_to_raise_it(world: World) -> None:
    parent = world.dispatch()["run"]
    person = _asked(world, budget="50")
    assert "budget set" in person["fix"]
    _inside(world, parent)
    told = _asked(world, budget="50")
    assert told["code"] == "refused_budget"
    assert "set" not in told["fix"] and parent in told["fix"]
    shown = world.http.post("/v1/runs", world.shell(budget="50", dry_run=True)).json()
    assert not any("budget set" in gate["fix"] for gate in shown["gates"])


def test_a_child_of_a_run_behind_a_wall_has_one_too(world: World) -> None:
    """Whatever its own agent says: else a run would leave its sandbox by asking for another."""
    (world.coordinator.home / "panagents.yaml").write_text("agents: {builder: {isolation: container}}\n")
    claude = (RuntimeFact(name="claude", state="ok"),)
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=claude)
    world.node.breathe()
    parent = world.dispatch(agent="builder", runtime="claude")["run"]
    assert world.context.row(Run, parent).terms["walled"] is True
    assert world.claim().policy.walled is True
    _inside(world, parent)
    child = world.dispatch(agent="scout", runtime="claude")["run"]
    assert world.context.row(Run, child).terms["walled"] is True
    world.node.facts = facts(isolation=Isolation.LANDLOCK, runtimes=claude)
    world.node.breathe()
    told = _asked(world, agent="scout", runtime="claude")
    assert "has no sandbox, but its agent, or the run that started it, requires one" in told["message"]
