"""What a token may not do beyond its scopes: land, say yes, live on in schedules, read whole addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.records import Audit, Run
from pancode.kernel.values import replace
from pancode.schedules.records import Firing, Schedule
from pancode.schedules.scheduler import Scheduler
from pancode.workflows.records import Workflow, WorkflowStep
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld, browser_of, code_of

HOUR = 3_600_000
HOOK = "https://hooks.example.org/services/T0/B0/topsecret"


@pytest.fixture
def world(tmp_path: Path) -> ListenerWorld:
    return ListenerWorld(tmp_path)


def asks(world: ListenerWorld, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    """Each request that begins work, with `more` in its dispatch."""
    step = {"name": "a", "dispatch": world.shell(**{k: v for k, v in more.items() if k != "yes"})}
    said = {"yes": more["yes"]} if "yes" in more else {}
    flow = {"kind": "batch", "name": "pair", "steps": [step], **said}
    return [
        ("/v1/runs", world.shell(**more)),
        ("/v1/workflows", flow),
        ("/v1/schedules", {"name": "a", "cron": "@daily", "dispatch": world.shell(**more)}),
        ("/v1/schedules", {"name": "b", "cron": "@daily", "workflow": flow}),
    ]


def _put(world: ListenerWorld, row: Run | Schedule | WorkflowStep) -> None:
    with world.context.ledger.transaction() as tx:
        tx.put(row)


@pytest.mark.parametrize(("word", "scope"), [("land", "operate"), ("yes", "answer")])
def test_a_landing_and_a_users_yes_need_their_own_scope(world: ListenerWorld, word: str, scope: str) -> None:
    weak, strong = world.token("dispatch"), world.token("dispatch", scope)
    for path, body in asks(world, **{word: True}):
        answer = world.ask("POST", path, weak, body)
        assert code_of(answer, 403) == "wrong_scope", path
        assert scope in answer.json()["why"] and answer.json()["fix"].startswith(
            f"omit the field {word}; or: "
        )
    for kind in (Run, Workflow, Schedule):
        assert world.context.rows(kind) == []
    assert "asked over TCP" not in [row.what for row in world.context.rows(Audit)]
    for path, body in asks(world, **{word: True}):
        assert "wrong_scope" not in world.ask("POST", path, strong, body).text, path
    for path, body in asks(world, **{word: False}):
        assert "wrong_scope" not in world.ask("POST", path, weak, body).text, path


def test_what_is_begun_once_more_lands_only_by_who_may_land(world: ListenerWorld) -> None:
    weak, strong = world.token("dispatch"), world.token("dispatch", "operate")
    run = world.dispatch()["run"]
    row = replace(world.context.row(Run, run), land=True)
    _put(world, row)
    flow = {"kind": "batch", "name": "pair", "steps": [{"name": "a", "dispatch": world.shell()}]}
    made = world.http.post("/v1/schedules", {"name": "n", "cron": "@daily", "workflow": flow})
    assert made.status_code == 201, made.text
    schedule = world.context.row(Schedule, "n")
    plan: Any = schedule.work["plan"]
    plan["steps"][0]["request"]["land"] = True
    _put(world, replace(schedule, work={**schedule.work, "plan": plan}))
    paths = (f"/v1/runs/{run}/retry", f"/v1/runs/{run}/continue", "/v1/schedules/n/run")
    for path in paths:
        assert code_of(world.ask("POST", path, weak), 403) == "wrong_scope", path
    for path in paths:
        assert "wrong_scope" not in world.ask("POST", path, strong).text, path
    _put(world, replace(row, landed="c" * 40))
    assert "wrong_scope" not in world.ask("POST", paths[0], weak).text, "it has landed already"


def test_a_workflow_that_lands_is_not_begun_again_by_a_weak_token(world: ListenerWorld) -> None:
    weak = world.token("dispatch")
    flow = {"kind": "batch", "name": "pair", "steps": [{"name": "a", "dispatch": world.shell()}]}
    made = world.http.post("/v1/workflows", flow).json()["workflow"]
    assert "wrong_scope" not in world.ask("POST", f"/v1/workflows/{made}/retry", weak).text
    (step,) = world.context.rows(WorkflowStep, workflow=made)
    _put(world, replace(step, request={**step.request, "land": True}))
    for verb in ("retry", "resume"):
        assert code_of(world.ask("POST", f"/v1/workflows/{made}/{verb}", weak), 403) == "wrong_scope"
    run = f"/v1/runs/{step.run}/retry"
    _put(world, replace(world.context.row(Run, str(step.run)), land=False))
    assert "wrong_scope" not in world.ask("POST", run, weak, {"alone": True}).text


def test_a_lane_or_schedule_that_lands_is_resumed_only_with_a_recent_link(world: ListenerWorld) -> None:
    stale, recent = (browser_of(world, confirmed=confirmed) for confirmed in (False, True))
    made = world.http.post("/v1/schedules", {"name": "n", "cron": "@daily", "dispatch": world.shell()})
    assert made.status_code == 201, made.text
    assert world.http.post("/v1/lanes", {"name": "n"}).status_code == 201
    assert world.http.post("/v1/lanes/n/add", world.shell()).status_code == 200
    for kind in ("lanes", "schedules"):
        world.http.post(f"/v1/{kind}/n/pause", {})
        assert world.ask("POST", f"/v1/{kind}/n/resume", stale).status_code == 200, kind
        world.http.post(f"/v1/{kind}/n/pause", {})
    schedule, (step,) = world.context.row(Schedule, "n"), world.context.rows(WorkflowStep)
    request: Any = schedule.work["request"]
    _put(world, replace(schedule, work={**schedule.work, "request": {**request, "land": True}}))
    _put(world, replace(step, request={**step.request, "land": True}))
    for kind in ("lanes", "schedules"):
        path = f"/v1/{kind}/n/resume"
        assert code_of(world.ask("POST", path, stale), 403) == "unconfirmed_browser", kind
        assert world.ask("POST", path, recent).status_code == 200, kind


def test_what_the_owners_settings_land_is_not_resumed_by_a_weak_token(world: ListenerWorld) -> None:
    """Its steps begin under the owner's name; a retry of all of it is the token's own, and lands nothing."""
    weak, strong = world.token("dispatch"), world.token("dispatch", "operate")
    flow = {"kind": "batch", "name": "pair", "steps": [{"name": "a", "dispatch": world.shell()}]}
    made = world.http.post("/v1/workflows", flow).json()["workflow"]
    (step,) = world.context.rows(WorkflowStep, workflow=made)
    resume = f"/v1/workflows/{made}/resume"
    assert "wrong_scope" not in world.ask("POST", resume, weak).text
    (world.coordinator.home / "pancode.yaml").write_text("dispatch: {land: when-passed}\n")
    assert code_of(world.ask("POST", resume, weak), 403) == "wrong_scope"
    assert "wrong_scope" not in world.ask("POST", resume, strong).text
    assert "wrong_scope" not in world.ask("POST", f"/v1/workflows/{made}/retry", weak).text


def _add(world: ListenerWorld, token: str, name: str = "nightly", **more: Any) -> dict[str, Any]:
    said = {"name": name, "cron": "0 * * * *", "dispatch": world.shell(), **more}
    answer = world.ask("POST", "/v1/schedules", token, said)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def _pass(world: ListenerWorld) -> list[Firing]:
    world.context.clock.ms += HOUR
    world.node.breathe()
    Scheduler(world.context.core, world.coordinator.around).run_pass()
    return sorted(world.context.rows(Firing), key=lambda one: one.at_ms)


def test_a_revoked_token_takes_its_schedules_with_it(world: ListenerWorld) -> None:
    token = world.token("dispatch", name="ci")
    _add(world, token)
    world.http.post("/v1/schedules", {"name": "ours", "cron": "@daily", "dispatch": world.shell()})
    answer = world.http.post("/v1/tokens/ci/revoke", {"by": "ana"}).json()
    assert answer == {"tokens": [], "ended": [], "paused": ["nightly"], "left": []}
    assert "ci" in str(world.context.row(Schedule, "nightly").paused)
    assert world.context.row(Schedule, "ours").paused is None
    (told,) = [row for row in world.context.rows(Audit) if row.what == "token revoked"]
    assert told.detail["paused"] == ["nightly"]
    assert _pass(world) == [] and world.context.rows(Run) == []
    assert world.problem("POST", "/v1/schedules/nightly/resume", {"by": "ana"})["code"] == "token_over"


@pytest.mark.parametrize("again", [False, True])
def test_a_schedule_of_a_token_that_has_expired_is_refused(world: ListenerWorld, again: bool) -> None:
    _add(world, world.token("dispatch", name="ci", lasts_ms=90 * 60_000), overlap=True)
    assert [one.state for one in _pass(world)] == ["begun"]
    world.context.clock.ms += HOUR
    if again:  # another one of that name has not made it
        world.token("dispatch", name="ci")
    firing = _pass(world)[-1]
    assert firing.state == "refused" and "no longer valid" in firing.reason and firing.fix, firing
    assert len(world.context.rows(Run)) == 1


def test_a_yes_is_not_kept_for_later_by_a_token(world: ListenerWorld) -> None:
    token = world.token("dispatch", "answer")
    flow = {"kind": "batch", "name": "p", "steps": [{"name": "a", "dispatch": world.shell()}], "yes": True}
    _add(world, token, dispatch=world.shell(yes=True))
    _add(world, token, "flow", dispatch=None, workflow=flow)
    assert "confirmed" not in repr([one.work for one in world.context.rows(Schedule)])
    body = {"name": "mine", "cron": "@daily", "dispatch": world.shell(yes=True)}
    assert world.http.post("/v1/schedules", body).status_code == 201
    assert "confirmed" in repr(world.context.row(Schedule, "mine").work), "a user on the socket"
