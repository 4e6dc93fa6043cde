"""Schedules fire runs and workflows: once each, through the gates, and say what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.kernel.errors import UnavailableError
from pancode.kernel.records import Audit, EventKind
from pancode.kernel.values import replace
from pancode.schedules.records import Firing, FiringState, Schedule
from pancode.workflows.records import Workflow
from tests.unit.pancode.runs.world import failed
from tests.unit.pancode.schedules.world import HOUR, Times

FAILS: dict[str, Any] = failed(FailureKind.AGENT_FAILED, Outcome.ERROR)


def test_a_run_begins_at_its_time_and_says_who_began_it(times: Times) -> None:
    told = times.add(cron="0 * * * *", zone="Europe/Berlin")
    assert len(told["next"]) == 5 and told["words"].endswith("Europe/Berlin") and told["warnings"] == []
    wait_s = times.scheduler.run_pass()
    assert times.runs() == [] and 0 < wait_s <= 15
    times.pass_(HOUR)
    (run,) = times.runs()
    assert run.created_by == "schedule:nightly" and times.states() == ["begun"]
    assert times.show()["firings"][0]["run"] == run.id and times.show()["running"] == run.id
    (event,) = [e for e in times.desk.core.feed.newest(50) if e.kind is EventKind.SCHEDULE_FIRED]
    assert (event.run, event.data["schedule"], event.data["state"]) == (run.id, "nightly", "begun")


def test_the_same_minute_fires_once_however_often_it_is_looked_at(times: Times) -> None:
    times.add(cron="* * * * *", overlap=True)
    times.pass_(60_000)
    for _ in range(3):
        times.scheduler = times.fresh()
        times.desk.restart()
        times.scheduler.run_pass()
    assert len(times.runs()) == 1
    times.desk.clock.ms -= 60_000
    times.scheduler.run_pass()
    times.pass_(60_000)
    assert len(times.runs()) == 1, "a clock that was set back"


def test_a_schedule_works_in_a_workspace_one_at_a_time(times: Times, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    (shop / ".git").mkdir(parents=True)
    made = {"name": "login", "by": "ana", "cwd": str(shop)}
    assert times.world.http.post("/v1/workspaces", made).status_code == 201
    times.add(cron="0 * * * *", dispatch=times.world.shell(workspace="login"), overlap=True)
    times.pass_(HOUR)
    times.pass_(HOUR)
    (first,) = times.runs()
    assert first.terms["in_workspace"] == "login" and times.states() == ["begun", "refused"]
    told = times.show()["firings"][0]
    assert f"workspace login is in use by {first.id}" in told["reason"], "a user is told why"
    times.play()
    times.pass_(HOUR)
    _, second = times.runs()
    assert second.terms["continues"] == first.id
    unknown = {"name": "other", "cron": "0 * * * *", "dispatch": times.world.shell(workspace="nowhere")}
    assert times.world.problem("POST", "/v1/schedules", unknown)["code"] == "workspace_not_found"


@pytest.mark.parametrize("killed_after", ["decided", "queued"])
def test_a_kill_between_two_transactions_begins_it_once(times: Times, killed_after: str) -> None:
    times.add(cron="0 * * * *")
    times.desk.clock.ms += HOUR
    times.node.breathe()
    if killed_after == "decided":
        times.scheduler._look(times.desk.row(Schedule, "nightly"), is_held=False)
        assert times.states() == ["starting"] and times.runs() == []
    else:
        times.scheduler.run_pass()
        (firing,) = times.desk.rows(Firing)
        with times.desk.ledger.transaction() as tx:
            tx.put(replace(firing, state=FiringState.STARTING, done_ms=None))
    times.desk.restart()
    times.scheduler = times.fresh()
    times.scheduler.run_pass()
    assert len(times.runs()) == 1 and times.states() == ["begun"]


def test_two_at_once_only_with_overlap(times: Times) -> None:
    times.add(cron="* * * * *")
    times.add("free", cron="* * * * *", overlap=True)
    for _ in range(2):
        times.pass_(60_000)
    assert times.states() == ["begun", "skipped"] and times.states("free") == ["begun", "begun"]


def test_made_up_times_begin_one_after_the_other(times: Times) -> None:
    times.add(cron="0 * * * *", missed="all")
    times.pass_(3 * HOUR + 600_000)
    assert times.states() == ["begun", "waiting", "waiting"]
    times.play()
    times.scheduler.run_pass()
    assert times.states() == ["begun", "begun", "waiting"] and len(times.runs()) == 2


def test_a_refused_firing_is_told_everywhere(times: Times) -> None:
    times.add(cron="0 * * * *")
    assert times.world.http.post("/v1/fleet/drain", {"reason": "new disk"}).status_code == 200
    times.pass_(HOUR)
    (shown,) = times.world.http.get("/v1/schedules").json()["schedules"]
    (firing,) = shown["firings"]
    assert firing["state"] == "refused" and firing["reason"] and firing["run"] is None
    audit = [one for one in times.desk.rows(Audit) if one.domain == "schedule" and one.level == "warning"]
    assert audit[-1].detail["schedule"] == "nightly"
    times.world.http.post("/v1/brief/looked", {"by": "ana"})
    times.pass_(1_000)
    assert _is_told(times), "a look changes nothing"
    times.world.http.post("/v1/fleet/resume", {"by": "ana"})
    times.pass_(HOUR)
    assert times.states() == ["refused", "begun"], "the next one is judged anew"
    assert not _is_told(times)


def _is_told(times: Times) -> bool:
    lines = times.world.http.get("/v1/brief", by="ana").json()["waits"]
    return any(line["command"] == "pancode schedule show nightly" for line in lines)


def test_what_cannot_be_done_now_is_done_later(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    times.add(cron="0 * * * *")

    def no_disk(*_: object) -> None:
        raise UnavailableError("no disk")

    with monkeypatch.context() as patched:
        patched.setattr("pancode.schedules.scheduler.dispatch_run", no_disk)
        times.pass_(HOUR)
    assert times.states() == ["starting"]
    times.pass_(30_000)
    assert times.states() == ["begun"]


def test_a_workflow_begins_with_all_its_steps(times: Times) -> None:
    steps = [
        {"name": "one", "dispatch": times.world.shell(task="cat .pancode/inputs/ORIGINAL.md")},
        {"name": "two", "needs": ["one"], "dispatch": times.world.shell()},
    ]
    flow = {"kind": "chain", "name": "pair", "steps": steps, "input": "the api", "budget": "2.5"}
    told = times.add(at="2030-01-01 08:00", workflow=flow)
    assert (told["kind"], told["task"], len(told["next"])) == ("workflow", "chain pair: the api", 1)
    assert times.act("run").status_code == 200
    times.scheduler.run_pass()
    (workflow,) = times.desk.rows(Workflow)
    assert (workflow.created_by, workflow.input, str(workflow.budget)) == (
        "schedule:nightly",
        "the api",
        "2.5",
    )
    assert times.show()["running"] == workflow.id
    (run,) = times.runs()
    assert (run.workflow, run.created_by) == (workflow.id, "schedule:nightly")


def test_a_user_pauses_resumes_fires_and_removes(times: Times) -> None:
    times.add(cron="0 * * * *")
    paused = times.act("pause", reason="release freeze").json()
    assert (paused["paused"], paused["next"], paused["next_at"]) == ("release freeze", [], None)
    times.pass_(5 * HOUR)
    assert times.states() == []
    times.act("resume")
    times.scheduler.run_pass()
    assert times.states() == [], "nothing was missed"
    times.act("pause")
    times.act("run")
    times.scheduler.run_pass()
    assert times.states() == ["begun"]
    busy = times.world.problem("POST", "/v1/schedules/nightly/run", {"by": "ana"})
    assert busy["code"] == "still_runs" and times.runs()[0].id in busy["message"]
    assert times.act("remove").json() == {"removed": "nightly"}
    assert times.world.problem("GET", "/v1/schedules/nightly")["status"] == 404
    assert len(times.runs()) == 1 and times.desk.rows(Firing) == []


def test_an_event_begins_a_run_about_the_run_of_the_event(times: Times) -> None:
    about = times.world.shell(task="echo look at $RUN")
    times.add("looker", on="run.failed", where={"outcome": "error"}, dispatch=about)
    bad = times.world.dispatch(task="false")["run"]
    times.play(**FAILS)
    times.scheduler.run_pass()
    run = times.runs()[-1]
    assert (run.created_by, run.task) == ("schedule:looker", f"echo look at {bad}")
    times.play(**FAILS)
    times.pass_(1_000)
    assert times.states("looker") == ["begun", "skipped"], "its own run does not call it"
    assert times.show("looker")["firings"][0]["reason"] == "a run of this schedule caused the event"
    times.world.dispatch()
    times.play()
    times.pass_(1_000)
    assert len(times.firings("looker")) == 2, "what is done is not a failure"


def test_schedules_that_call_each_other_come_to_an_end(times: Times) -> None:
    for name in ("one", "two"):
        times.add(name, on="run.failed", overlap=True)
    times.world.dispatch(task="false")
    for _ in range(20):
        times.node.breathe()
        times.desk.turn()
        job = times.node.claim()
        if job is not None:
            times.node.carry_out(job, **FAILS)
        times.pass_(1_000)
    begun = [one for one in times.desk.rows(Firing) if one.state is FiringState.BEGUN]
    assert 2 <= len(begun) <= 6, [(one.schedule, one.depth) for one in begun]


def test_a_schedule_of_an_older_version_on_a_push_is_paused_and_started_by_ci(times: Times) -> None:
    times.add("tested", cron="@daily")
    with times.desk.ledger.transaction() as tx:
        (row,) = tx.find(Schedule)
        push: dict[str, object] = {"kind": "push", "repo": "/srv/shop", "branch": "main"}
        tx.put(replace(row, trigger=push, next_ms=None, mark="a" * 40))
    times.scheduler.run_pass()
    line = "in a hook of git or in CI, run: pancode schedule run tested"
    shown = times.show("tested")
    assert shown["paused"].endswith(line) and shown["words"] == "on a push to main of /srv/shop"
    refused = times.world.problem("POST", "/v1/schedules/tested/resume", {"by": "ana"})
    assert refused["code"] == "never_fires" and refused["fix"].endswith(line)
    assert times.act("run", "tested").status_code == 200
    times.scheduler.run_pass()
    assert times.states("tested") == ["begun"] and times.show("tested")["paused"] == shown["paused"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, "bad_value"),
        ({"cron": "@daily", "at": "08:00"}, "bad_value"),
        ({"cron": "0 0 31 2 *"}, "never_fires"),
        ({"at": "2001-01-01 08:00"}, "never_fires"),
        ({"on": "run.fails"}, "never_fires"),
        ({"on": "run.failed", "where": {"colour": "red"}}, "never_fires"),
        ({"cron": "@daily", "where": {"agent": "a"}}, "usage"),
        ({"cron": "@daily", "zone": "Mars/Olympus"}, "bad_zone"),
        ({"cron": "@daily", "missed": "twice"}, "bad_value"),
        ({"cron": "@daily", "name": "Night ly"}, "bad_name"),
        ({"cron": "@daily", "dispatch": {"task": "x", "agent": "nobody"}}, "agent_not_found"),
        ({"cron": "@daily", "dispatch": None}, "bad_value"),
        ({"cron": "@daily", "colour": "red"}, "unknown_key"),
    ],
)
def test_what_can_never_fire_is_an_error_when_it_is_made(times: Times, said: Any, code: str) -> None:
    body = {"name": "nightly", "dispatch": times.world.shell(), **said}
    problem = times.world.problem("POST", "/v1/schedules", body)
    assert problem["code"] == code and problem["fix"], problem
    assert times.world.http.get("/v1/schedules").json() == {"schedules": []}


def test_a_name_is_taken_once_and_a_dry_run_takes_none(times: Times) -> None:
    body = {"name": "nightly", "cron": "@daily", "dispatch": times.world.shell()}
    dry = times.world.http.post("/v1/schedules", {**body, "dry_run": True})
    assert len(dry.json()["next"]) == 5
    times.add(cron="@daily")
    assert times.world.problem("POST", "/v1/schedules", body)["code"] == "name_taken"
