"""The API on the real use cases in memory: what is asked wrongly, refused, admitted, steered and followed."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.event import Revoked
from node_agent.wire.failure import FailureKind, Outcome
from pancode.app.http_routes import VERBS
from pancode.fleet import inventory
from pancode.interfaces.http import context
from pancode.kernel.errors import UnavailableError
from pancode.kernel.records import Balance, Lease, LeaseState, Node, Run, RunState, Setting
from pancode.kernel.values import replace
from pancode.runs import log
from pancode.runs.core import Core
from pancode.runs.views import format_iso
from tests.unit.pancode.interfaces.http.world import FINGERPRINT, World, events_of
from tests.unit.pancode.runs.world import failed


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# -- wrong questions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "words", "fix"),
    [
        ("/v1/runs", {"tsk": "x"}, "unknown key 'tsk'", "task"),
        ("/v1/runs", {"task": "x", "mode": "bild"}, "mode", "admin, plan, build, review"),
        ("/v1/runs", {"task": "x", "settings": {"budget.ceiling": "99"}}, "settings", "budget.per_run"),
        ("/v1/runs", {"task": "x", "priority": "high"}, "priority", ""),
        ("/v1/runs", {"task": "x", "runtime": ""}, "the value is empty", "omit it"),
        ("/v1/runs", {"task": "x", "agent": ""}, "the value is empty", "omit it"),
        ("/v1/runs", {"task": "x", "preset": ""}, "the value is empty", "omit it"),
        ("/v1/nodes", {"name": "a b"}, "is not a valid name", "give another name"),
        ("/v1/budget/ceiling", {"usd": "-1"}, "usd", ""),
        ("/v1/budget/ceiling", {"usd": "1", "scope": "fortnight"}, "fortnight", "day"),
        ("/v1/budget/ceiling", {"usd": "1", "scope": "agent:bulider"}, "bulider", "builder"),
        ("/v1/queues/pause", {"queue": "pool.node.n2"}, "pool.node.n2", "pool.node.n1"),
    ],
)
def test_a_wrong_request_is_told_its_path_and_the_nearest_name(
    world: World, path: str, body: object, words: str, fix: str
) -> None:
    told = world.problem("POST", path, body)
    assert words in told["message"] and fix in told["fix"]
    assert told["exit_code"] in (2, 4)


def test_wrong_paths_parameters_and_bodies(world: World) -> None:
    assert world.problem("GET", "/v1/rnus")["code"] == "no_such_route"
    assert "limit?" in world.problem("GET", "/v1/runs?limmit=3")["fix"]
    assert world.problem("GET", "/v1/runs?limit=-3")["code"] == "bad_value"
    assert world.problem("GET", "/v1/runs/r-9999x")["exit_code"] == 4


def test_every_verb_has_its_own_path_and_method() -> None:
    assert len({(verb.method, verb.path) for verb in VERBS}) == len(VERBS)


# -- dispatch --------------------------------------------------------------------------------------


def test_dispatch_passes_ten_gates_and_is_bound_at_once(world: World) -> None:
    queued = world.dispatch()
    run = queued["run"]
    why = world.http.get(f"/v1/runs/{run}/why").json()
    gates = [d["what"] for d in why["decisions"] if d["kind"] == "gate"]
    assert [g for g in gates if g != "budget"] == (
        "mode mutation drain recursion task paths safety agent routing".split()
    )
    assert world.claim().identity.run == run  # the response's own round has signed and pushed it
    assert why["now"] == "pending: offered to n1"


@pytest.mark.parametrize("error", [UnavailableError("Redis is away"), ZeroDivisionError("a fault of ours")])
def test_a_job_that_cannot_go_out_at_once_is_signed_and_goes_out_later(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def act(core: Core) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(context, "act_now", act)
        run = world.dispatch()["run"]
    (lease,) = world.context.rows(Lease, run=run)
    assert lease.state is LeaseState.OFFERED and world.node.claim() is None
    world.context.turn()
    assert world.claim().identity.run == run


def test_a_refusal_names_its_gate_and_nothing_is_left(world: World) -> None:
    told = world.problem("POST", "/v1/runs", world.shell(mode="plan"))
    assert (told["exit_code"], told["code"], told["status"]) == (5, "refused_mode", 409)
    assert told["why"] == "gate 1 of 10: mode"
    assert world.context.rows(Run) == [] and world.context.rows(Balance) == []
    assert world.http.get("/v1/audit", about="admission").json()["audit"][0]["what"] == "refused"


def test_an_unknown_node_is_not_found_with_the_nearest_name(world: World) -> None:
    told = world.problem("POST", "/v1/runs", world.shell(node="n11"))
    assert told["exit_code"] == 4 and "n1?" in told["why"]
    assert world.context.rows(Run) == []


def test_a_dry_run_shows_all_ten_gates_and_changes_nothing(world: World) -> None:
    answer = world.http.post("/v1/runs", world.shell(dry_run=True, mode="plan")).json()
    assert [g["gate"] for g in answer["gates"]] == (
        "mode mutation drain recursion task paths safety budget agent routing".split()
    )
    assert answer["admitted"] is False and answer["nodes"][0]["node"] == "n1"
    assert answer["snapshot"] is None and world.context.rows(Run) == []


def test_a_dry_run_names_the_files_that_would_travel(world: World, tmp_path: Path) -> None:
    (tmp_path / "repo/.git").mkdir(parents=True)
    body = {"task": "true", "runtime": "shell", "cwd": str(tmp_path / "repo"), "dry_run": True}
    answer = world.http.post("/v1/runs", body).json()
    assert answer["workspace"] == "git" and answer["project"] == str(tmp_path / "repo")
    assert answer["snapshot"]["untracked"] == ["secret.env"] and answer["admitted"] is True


def test_settings_of_one_call_count_less_than_its_flags(world: World) -> None:
    told = world.problem("POST", "/v1/runs", world.shell(settings={"dispatch.safety": "suggest"}))
    assert told["code"] == "refused_safety"
    world.dispatch(settings={"dispatch.safety": "suggest"}, safety="auto-edit")


# -- looking ---------------------------------------------------------------------------------------


def test_a_prefix_is_enough_while_it_is_unambiguous(world: World) -> None:
    world.context.dispatch("r-0001")
    world.context.dispatch("r-0012")
    world.context.dispatch("r-0123")
    assert world.http.get("/v1/runs/012/brief").json()["run"] == "r-0123"
    assert world.http.get("/v1/runs/last/brief").json()["run"] in ("r-0001", "r-0012", "r-0123")
    told = world.problem("GET", "/v1/runs/r-00/brief")
    assert told["exit_code"] == 2 and "r-0001, r-0012" in told["why"]


def test_a_running_run_of_a_silent_node_is_unknown_not_lost(world: World) -> None:
    run = world.dispatch()["run"]
    world.node.start(world.claim())
    world.context.turn(200)
    world.context.clock.ms += 60_000
    shown = world.http.get(f"/v1/runs/{run}/brief").json()
    assert shown["state"] == "running" and "unknown since" in shown["notes"][0]
    assert shown["notes"][0].endswith(": node n1 is suspect, it sends no heartbeats")


def test_a_run_is_unknown_at_the_earliest_since_it_was_sent(world: World) -> None:
    world.context.clock.ms += 4_000
    run = world.dispatch()["run"]
    bound = format_iso(world.context.clock.wall_ms())
    world.node.start(world.claim())
    world.context.turn(200)
    world.context.clock.ms += 60_000
    (note,) = world.http.get(f"/v1/runs/{run}/brief").json()["notes"]
    assert note.startswith(f"unknown since {bound}: ")


def test_the_fleet_says_since_when_and_what_to_do(world: World) -> None:
    inventory.add(world.context.core, Node("n2", world.context.clock.wall_ms(), {}, {"gpu": "24g"}, 3))
    nodes = {n["name"]: n for n in world.http.get("/v1/fleet").json()["nodes"]}
    assert nodes["n1"]["state"] == "online" and nodes["n1"]["clock_skew_s"] < -1e9
    assert ["either may be wrong" in p["what"] for p in nodes["n1"]["problems"]] == [True]
    assert nodes["n2"]["state"] == "new" and nodes["n2"]["labels"] == {"gpu": "24g"}
    assert nodes["n2"]["problems"][0]["fix"] == "pancode fleet up n2"
    since = nodes["n1"]["since"]
    world.context.clock.ms += 1_000
    assert world.http.get("/v1/fleet").json()["nodes"][0]["since"] == since


# -- steering --------------------------------------------------------------------------------------


def test_a_paused_queue_says_so_to_those_who_wait(world: World) -> None:
    world.http.post("/v1/queues/pause", {"queue": "pool.any", "reason": "disk full"})
    run = world.dispatch()["run"]
    shown = world.http.get("/v1/queues", name="any").json()["queues"][0]
    assert shown["paused"] == "disk full" and shown["orders"][0]["run"] == run
    assert "disk full" in world.http.get(f"/v1/runs/{run}/brief").json()["reason"]
    world.http.post("/v1/queues/resume", {"queue": "pool.any"})
    assert world.claim().identity.run == run and world.context.rows(Setting, name="pause:any") == []


@pytest.mark.parametrize("queue", [None, "n1"])
def test_the_fleet_or_a_node_can_be_paused(world: World, queue: str | None) -> None:
    world.http.post("/v1/queues/pause", {"queue": queue, "reason": "keys"})
    run = world.dispatch()["run"]
    assert world.node.claim() is None
    assert "keys" in world.http.get(f"/v1/runs/{run}/brief").json()["reason"]
    world.http.post("/v1/queues/resume", {"queue": queue})
    assert world.claim().identity.run == run


def test_a_waiting_run_is_taken_out_a_running_one_is_not(world: World) -> None:
    world.http.post("/v1/queues/pause", {})
    waiting = world.dispatch()["run"]
    out = world.http.post(f"/v1/queues/runs/{waiting}/remove", {"by": "ana"}).json()
    assert (out["state"], out["outcome"]) == ("ended", "interrupted")
    again = world.problem("POST", f"/v1/queues/runs/{waiting}/remove", {})
    assert again["fix"] == f"pancode runs show {waiting}", "nothing is left to be stopped"
    world.http.post("/v1/queues/resume", {})
    running = world.dispatch()["run"]
    world.node.start(world.claim())
    world.context.turn()
    told = world.problem("POST", f"/v1/queues/runs/{running}/remove", {})
    assert told["code"] == "not_waiting" and told["fix"] == f"pancode runs stop {running}"


def test_a_stop_waits_for_the_nodes_own_word(world: World) -> None:
    run = world.dispatch()["run"]
    world.node.start(world.claim())
    world.context.turn()
    told = world.http.post(f"/v1/runs/{run}/stop", {"by": "ana", "reason": "wrong"}).json()
    assert told["state"] == "interrupting" and "not confirmed" in told["reason"]
    assert [c.body.kind for c in world.node.controls()][-1] == "stop"


def test_a_drained_fleet_refuses_and_a_resumed_one_takes(world: World) -> None:
    told = world.http.post("/v1/fleet/drain", {"reason": "new disk"}).json()
    assert told == {"nodes": ["n1"], "draining": "new disk"}
    refused = world.problem("POST", "/v1/runs", world.shell())
    assert refused["code"] == "refused_drain" and "new disk" in refused["message"]
    world.http.post("/v1/fleet/resume", {})
    assert world.context.row(Node, "n1").draining is None
    world.dispatch()


def test_ceilings_and_costs_by_hand(world: World) -> None:
    shown = world.http.post("/v1/budget/ceiling", {"by": "ana", "usd": "20"}).json()
    assert shown["scopes"][0]["ceiling_usd"] == "20"
    node = world.http.post("/v1/budget/ceiling", {"usd": "5", "scope": "node:n1"}).json()
    assert {"node:n1", "5"} <= {v for s in node["scopes"] for v in s.values() if isinstance(v, str)}
    run = world.context.dispatch("r-0009").id
    told = world.problem("POST", "/v1/budget/settle", {"run": run, "usd": "1"})
    assert "neither unknown nor disputed" in told["message"]


def test_retry_is_admitted_anew(world: World) -> None:
    run = world.dispatch(verify=["grep -q 'a b' x"], timeout_ms=5_000)["run"]
    assert world.problem("POST", f"/v1/runs/{run}/retry", {})["code"] == "not_ended"
    world.http.post(f"/v1/runs/{run}/stop", {})
    world.node.say(world.claim().identity, _revoked())
    world.context.turn()
    again = world.http.post(f"/v1/runs/{run}/retry", {"by": "ana"}).json()
    fresh = world.context.row(Run, again["run"])
    assert fresh.retry_of == run and fresh.state is RunState.PENDING and fresh.created_by == "ana"
    assert fresh.gates[0]["argv"] == ["grep", "-q", "a b", "x"] and fresh.limits["wall_ms"] == 5_000


def _revoked() -> Any:
    return Revoked(reason="stopped")


# -- following -------------------------------------------------------------------------------------


def test_progress_is_told_to_its_end(world: World) -> None:
    run = world.dispatch()["run"]
    world.node.carry_out(exit_code=0)
    events = events_of(world.http.get(f"/v1/runs/{run}/events"))
    assert events[-1][0] == "run" and events[-1][1]["outcome"] == "done"


def test_a_log_is_read_by_offset_without_gap_or_double(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.dispatch()["run"]
    job = world.claim()
    world.node.start(job)
    whole = bytes(range(256)) * 600
    world.coordinator.streams.put(job.identity, "out", whole)
    world.node.deliver(job)
    world.context.turn()
    got, offset, state = b"", 0, "more"
    while state == "more":
        piece = world.http.get(f"/v1/runs/{run}/log", offset=str(offset))
        got += piece.content
        offset, state = int(piece.headers["Pancode-Next"]), piece.headers["Pancode-State"]
    assert got == whole and state == "end" and offset == len(whole)
    tail = world.http.get(f"/v1/runs/{run}/log", last="70000")
    assert whole[-70_000:].startswith(tail.content) and tail.headers["Pancode-Lines-Before"] == str(
        whole[:-70_000].count(b"\n")
    )
    monkeypatch.setattr(log, "MOST_COUNTED", len(whole) - 70_001)
    tail = world.http.get(f"/v1/runs/{run}/log", last="70000")
    assert tail.headers["Pancode-Lines-Before"] == "unknown", "a large log is not read for its line numbers"
    events = events_of(world.http.get(f"/v1/runs/{run}/log", offset="100", follow="1"))
    assert [k for k, _ in events][-1] == "end" and events[-1][1]["complete"] is True
    rest = b"".join(base64.b64decode(data["b64"]) for kind, data in events if kind == "log")
    assert rest == whole[100:]


def test_what_has_ended_is_told_since_a_time(world: World) -> None:
    run = world.dispatch(budget="2")["run"]
    assert world.http.get("/v1/now").json()["waiting"][0]["limit_usd"] == "2"
    world.node.carry_out(exit_code=0)
    ended = world.http.get("/v1/now").json()["ended"]
    assert (ended["count"], ended["states"]) == (1, {"done": 1})
    at = world.http.get(f"/v1/runs/{run}").json()["finished_at"]
    assert world.http.get("/v1/now", since=at).json()["ended"]["since"] == at
    later = world.http.get("/v1/now", since="2099-01-01T00:00:00.000Z").json()["ended"]
    assert (later["count"], later["runs"]) == (0, [])
    assert world.http.get("/v1/now", since="when").status_code == 400


def test_the_last_words_of_all_that_runs_are_one_answer(world: World) -> None:
    run = world.dispatch()["run"]
    world.dispatch()  # it waits, and has no words
    job = world.claim()
    world.node.start(job)
    assert world.http.get("/v1/tails").json() == {"tails": {}}
    world.coordinator.streams.put(job.identity, "out", "first\nthe end \u00e9\n".encode())
    assert world.http.get("/v1/tails", bytes="11").json() == {"tails": {run: "the end \u00e9\n"}}
    assert world.http.get("/v1/tails", bytes="9999999").status_code == 400
    world.node.deliver(job, tool_calls={"file_read": 2, "shell": 1})
    world.context.turn()
    assert world.http.get("/v1/tails").json() == {"tails": {}}
    assert world.http.get(f"/v1/runs/{run}").json()["actions"] == {"file_read": 2, "shell": 1}


def test_a_log_goes_on_with_the_next_attempt(world: World) -> None:
    run = world.dispatch(attempts=2)["run"]
    first = world.claim()
    world.coordinator.streams.put(first.identity, "out", b"first\n")
    world.node.carry_out(first, **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    world.context.turn(world.context.rules.retry_pause_ms)
    world.node.breathe()
    second = world.claim()
    world.coordinator.streams.put(second.identity, "out", b"second\n")
    world.node.carry_out(second)
    kinds = [kind for kind, _ in events_of(world.http.get(f"/v1/runs/{run}/log", attempt="1.1", follow="1"))]
    assert kinds == ["log", "attempt", "log", "end"]
    assert world.http.get(f"/v1/runs/{run}/log").content == b"second\n"
    assert world.context.row(Lease, run, 2).attempt == 2


def test_a_streams_name_cannot_leave_its_folder(world: World) -> None:
    run = world.dispatch()["run"]
    world.claim()
    assert world.problem("GET", f"/v1/runs/{run}/log?stream=../x")["exit_code"] == 2


def test_a_stream_that_no_node_has_is_an_error_and_not_an_empty_one(world: World) -> None:
    run = world.dispatch()["run"]
    told = world.problem("GET", f"/v1/runs/{run}/log?stream=gates")
    assert told["exit_code"] == 2 and "gates.log" in told["fix"]


# -- machines --------------------------------------------------------------------------------------


def test_bring_up_tells_its_steps_and_who_failed(world: World) -> None:
    inventory.add(world.context.core, Node("n2", 0, {}, {}, 1))
    world.coordinator.fleet.sick.add("n2")
    events = events_of(world.http.post("/v1/fleet/up", {"by": "ana"}))
    assert [e[1]["state"] for e in events if e[0] == "progress"] == ["started", "done", "started", "failed"]
    results = {r["node"]: r for r in events[-1][1]["results"]}
    assert results["n1"]["ok"] and results["n2"]["problems"][0]["fix"] == "install python3"
    assert {n["name"] for n in events[-1][1]["nodes"]} == {"n1", "n2"}


def test_a_machine_is_probed_asked_for_added_and_removed(world: World) -> None:
    body = {"name": "gpubox", "by": "ana", "environ": {"SSH_AUTH_SOCK": "/s"}, "labels": {"gpu": "24g"}}
    probed = world.http.post("/v1/nodes/probe", body).json()
    assert probed["questions"][0]["value"] == FINGERPRINT and probed["warnings"]
    assert world.coordinator.fleet.callers[0].environ == {"SSH_AUTH_SOCK": "/s"}
    assert world.problem("POST", "/v1/nodes", body)["code"] == "fingerprint_not_accepted"
    added = world.http.post("/v1/nodes", {**body, "fingerprint": FINGERPRINT})
    assert added.status_code == 201 and added.json()["labels"] == {"gpu": "24g"}
    assert "gpubox?" in world.problem("POST", "/v1/nodes/gpuboks/remove", {})["why"]
    kind, result = events_of(world.http.post("/v1/nodes/gpubox/remove", {}))[-1]
    assert kind == "result" and result["ok"]
    assert world.problem("GET", "/v1/nodes/gpubox")["exit_code"] == 4


def test_a_removed_machine_that_another_tool_cleaned_is_forgotten(world: World) -> None:
    def cleaned(name: str) -> bool:
        answer = world.http.post(f"/v1/nodes/{name}/cleaned", {"by": "ansible"}).json()
        return bool(answer["forgotten"])

    assert not cleaned("n1") and world.http.get("/v1/nodes/n1").status_code == 200, "nobody removed it"
    inventory.revoke(world.context.core, "n1")
    assert cleaned("n1") and not cleaned("n1")
    assert world.problem("GET", "/v1/nodes/n1")["exit_code"] == 4


def test_down_asks_first_while_runs_are_in_flight(world: World) -> None:
    run = world.dispatch()["run"]
    told = world.problem("POST", "/v1/fleet/down", {})
    assert told["code"] == "runs_in_flight" and run in told["why"]
    assert events_of(world.http.post("/v1/fleet/down", {"now": True}))[-1][0] == "result"
    assert world.http.post("/v1/shutdown", {"by": "ana"}).json()["stopping"] is True
    assert world.coordinator.story[-1] == "shutdown by ana"


# -- code and catalogue ----------------------------------------------------------------------------


def test_a_diff_is_bytes(world: World) -> None:
    run = world.context.row(Run, world.dispatch()["run"])
    git = {"kind": "git", "repo": "demo-1234", "snapshot": "a" * 40}
    with world.context.ledger.transaction() as tx:
        tx.put(replace(run, workspace=git, result={"commit": "c" * 40}))
    assert world.http.get(f"/v1/runs/{run.id}/diff").content.endswith(b"\xff\n")


def test_a_landing_is_told(world: World) -> None:
    run = world.dispatch()["run"]
    assert world.http.post(f"/v1/runs/{run}/land", {}).json()["status"] == "landed"
    world.coordinator.code.told_of_landings = "SHOP-12 is closed"
    assert world.http.post(f"/v1/runs/{run}/land", {}).json()["tracker"] == "SHOP-12 is closed"
    assert "tracker" not in world.http.post(f"/v1/runs/{run}/land", {"wait": False}).json()


def test_what_did_not_end_well_lands_only_anyway(world: World) -> None:
    run = world.dispatch()["run"]
    unchanged = {"commit": None, "change": "no_change", "files_changed": ()}
    world.node.deliver(world.claim(), **failed(FailureKind.AGENT_FAILED, Outcome.ERROR), **unchanged)
    world.context.turn()
    told = world.problem("POST", f"/v1/runs/{run}/land", {})
    assert told["code"] == "not_done" and told["fix"].endswith(f"to try again: pancode runs retry {run}")
    run = world.dispatch()["run"]
    world.node.deliver(world.claim(), **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    world.context.turn()
    told = world.problem("POST", f"/v1/runs/{run}/land", {})
    assert told["code"] == "not_done" and "--anyway" in told["fix"] and told["exit_code"] == 7
    assert world.http.post(f"/v1/runs/{run}/land", {"anyway": True}).json()["status"] == "landed"


def test_what_there_is_to_choose_from(world: World) -> None:
    agents = world.http.get("/v1/agents").json()["agents"]
    assert {"scout", "builder", "red-team"} <= {a["name"] for a in agents}
    assert world.http.get("/v1/agents", name="dev").json()["agents"][0]["name"] == "builder"
    assert "builder?" in world.problem("GET", "/v1/agents?name=bulder")["why"]
    shell = next(r for r in world.http.get("/v1/runtimes").json()["runtimes"] if r["name"] == "shell")
    assert shell["nodes"][0]["node"] == "n1"
    assert [m["name"] for m in world.http.get("/v1/modes").json()["modes"] if m["default"]] == ["build"]
    levels = {s["name"]: s for s in world.http.get("/v1/safety").json()["safety"]}
    assert levels["auto-edit"]["default"] and "git_push" not in levels["auto-edit"]["allows"]
    assert {"key", "value", "origin"} == set(world.http.get("/v1/config").json()["settings"][0])
