"""What happened since somebody last looked; and the audit's chain, through the API."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from node_agent.wire.receipt import Usage
from pancode.config.fleet_settings import pause_queue
from pancode.kernel.records import Audit, Run
from pancode.kernel.values import replace
from pancode.reports.brief import VISIT_MS
from pancode.runs.ceilings import settle_by_hand
from pancode.runs.needs import LeftRun, need_of_run
from pancode.runs.unit_of_work import digest_of
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import failed

PAID = Usage(cost_usd=Decimal("0.25"), cost_source="reported")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def play(world: World, **ended: Any) -> str:
    run = str(world.dispatch(runtime="scripted", budget="0.25")["run"])
    world.context.turn()
    world.node.carry_out(**{"usage": PAID, **ended})
    world.node.breathe()
    return run


def told(world: World, **query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = world.http.get("/v1/brief", by="ana", **query).json()
    return answer


def test_what_ended_is_new_for_one_visit_and_a_reload_does_not_end_it(world: World) -> None:
    """A reload, or a second tab, removed what had ended in the night."""
    done = play(world)
    stuck = play(world, **failed(FailureKind.NEEDS_USER, Outcome.BLOCKED))
    first = told(world)
    assert first["outcomes"] == {"done": 1, "blocked": 1}
    assert [line["run"] for line in first["ran"]] == [stuck, done]
    question = first["waits"][0]
    assert question["run"] == stuck and question["command"].startswith(f"pancode answer {stuck}")
    assert (first["cost"]["usd"], first["cost"]["runs"]) == ("0.50", 2)
    for _ in range(3):
        world.http.post("/v1/brief/looked", {"by": "ana"})
        world.context.turn(VISIT_MS - 1_000)
        assert told(world)["outcomes"] == first["outcomes"], "the visit continues"
    world.context.turn(2_000)
    later = told(world)
    assert (later["outcomes"], later["ran"], later["cost"]["runs"]) == ({}, [], 0)
    assert told(world, since="24h")["outcomes"] == first["outcomes"], "as asked for, whenever she looked"
    assert later["by"] == "owner", "at each interface the owner is one person"


def changed(world: World) -> str:
    commit = "c" * 40
    world.context.depot.commits.add(commit)
    return play(world, commit=commit, change="change", files_changed=("a.txt",))


def change(world: World, run: str, **fields: Any) -> None:
    row = replace(world.context.row(Run, run), **fields)
    with world.context.ledger.transaction() as tx:
        tx.put(row)


def test_a_question_waits_after_the_look_until_somebody_answers_it(world: World) -> None:
    stuck = play(world, **failed(FailureKind.NEEDS_USER, Outcome.BLOCKED))
    world.http.post("/v1/brief/looked", {"by": "ana"})
    world.context.turn(1_000)
    assert [groups(world)["asks"]] == [[told(world)["waits"][0]["id"]]]
    world.http.post(f"/v1/runs/{stuck}/continue", {"by": "ben"})
    assert groups(world) == {}


def groups(world: World) -> dict[str, list[str]]:
    """Return the ids of the needs by group, without empty groups; the brief lists the same."""
    now = world.http.get("/v1/now").json()
    assert told(world)["waits"] == [need for group in now["groups"] for need in group["needs"]]
    assert now["count"] == sum(group["count"] for group in now["groups"])
    found = {one["group"]: [need["id"] for need in one["needs"]] for one in now["groups"]}
    return {name: ids for name, ids in found.items() if ids and name != "nodes"}


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_needs_a_user_or_is_known_to_need_nobody(world: World, outcome: Outcome) -> None:
    """Five of eight ways to fail were in no list."""
    kind = next((kind for kind, rule in FAILURES.items() if rule.outcome is outcome), None)
    run = play(world) if kind is None else play(world, **failed(kind, outcome))
    ended = world.context.row(Run, run)
    expected = {"blocked": "asks", "done": "", "interrupted": "", "superseded": ""}
    change(world, run, outcome=outcome, finished_ms=ended.finished_ms or 1)
    found = need_of_run(LeftRun(replace(ended, outcome=outcome), "n1", None, None, None, True))
    group = expected.get(outcome.value, "failed")
    assert ("" if found is None else found.group.value) == group.replace("asks", "")
    if ended.outcome is outcome and group:
        assert list(groups(world)) == [group]


def test_a_look_removes_no_failure(world: World) -> None:
    """`pancode status` on a terminal removed failed gates and failures of a node from all faces."""
    left, gate = changed(world), play(world, **failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED))
    infra = play(world, **failed(FailureKind.NODE_REBOOTED, Outcome.INFRA))
    expected = {"failed": [infra, gate], "to_land": [left]}
    assert groups(world) == expected
    world.http.post("/v1/brief/looked", {"by": "ana"})
    world.context.turn(VISIT_MS + 1_000)
    assert world.http.get("/v1/now").json()["ended"]["count"] == 0, (
        "only what has ended since the look changes"
    )
    assert groups(world) == expected


def test_a_failure_waits_until_it_is_retried_continued_or_done(world: World) -> None:
    ends = failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED)
    first, second, third = (play(world, **ends) for _ in range(3))
    world.http.post(f"/v1/runs/{first}/retry", {"by": "ana"})
    world.http.post(f"/v1/runs/{second}/continue", {"by": "ana"})
    assert groups(world) == {"failed": [third]}
    for _ in range(2):
        assert world.http.post(f"/v1/needs/{third}/done", {"by": "ana"}).json() == {"need": third}
        assert groups(world) == {}
        assert world.http.post(f"/v1/needs/{third}/undo", {"by": "ana"}).json() == {"need": third}
        assert groups(world) == {"failed": [third]}


def test_a_drop_is_taken_back_with_all_that_was_known_of_the_landing(world: World) -> None:
    run, was = changed(world), {"status": "conflict", "why": "a.txt"}
    change(world, run, landing=was)
    before = world.http.get("/v1/now").json()["groups"][2]["needs"]
    assert (before[0]["state"], before[0]["headline"]) == ("conflict", "1 file, conflicts with your files")
    world.http.post(f"/v1/runs/{run}/land/drop", {"by": "ana"})
    assert groups(world) == {}
    world.http.post(f"/v1/needs/{run}/undo", {"by": "ana"})
    assert world.context.row(Run, run).landing == was
    assert world.http.get("/v1/now").json()["groups"][2]["needs"] == before


def test_what_must_be_decided_is_not_dismissed(world: World) -> None:
    play(world, **failed(FailureKind.NEEDS_USER, Outcome.BLOCKED))
    (item,) = groups(world)["asks"]
    assert world.http.post(f"/v1/needs/{item}/done", {"by": "ana"}).json()["code"] == "other_kind"
    for act in ("done", "undo"):
        assert world.http.post(f"/v1/needs/r-none/{act}", {"by": "ana"}).status_code == 404


@pytest.mark.parametrize(
    ("reason", "headline"),
    [
        ("gate python3 -m unittest: exit 1: AssertionError: 1 != 2", "AssertionError: 1 != 2"),
        ("gate true: signal 9", "gate true: signal 9"),
        ("the agent's last call was denied", "the agent's last call was denied"),
    ],
)
def test_the_headline_is_the_line_that_decides(world: World, reason: str, headline: str) -> None:
    run = play(world, **failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED))
    change(world, run, reason=reason)
    (need,) = world.http.get("/v1/now").json()["groups"][1]["needs"]
    assert (need["headline"], need["state"], need["usd"]) == (headline, "gate_failed", "0.25")
    acts = {act["key"]: act for act in need["acts"]}
    assert list(acts) == ["r", "s", "e"] and acts["e"]["is_undoable"] and acts["s"]["takes_text"]
    assert world.http.post(acts["r"]["path"], {"by": "ana", **acts["r"]["body"]}).status_code == 201


def test_an_unverified_change_is_not_called_verified(world: World) -> None:
    changed(world)
    (need,) = world.http.get("/v1/now").json()["groups"][2]["needs"]
    assert (need["state"], need["headline"]) == ("unverified", "1 file, not verified")
    assert [act["key"] for act in need["acts"]] == ["l", "s", "e"]
    assert need["acts"][0]["asks"].startswith("Land “") and "not verified" in need["acts"][0]["asks"]


def test_a_change_is_offered_until_it_is_denied_or_goes_on_in_another_run(world: World) -> None:
    first, second = changed(world), changed(world)
    assert groups(world) == {"to_land": [second, first]}
    change(world, first, landing={"status": "denied", "why": "denied by ben", "fix": ""})
    change(world, second, result={**world.context.row(Run, second).result, "continued_by": ["r-9999"]})
    assert groups(world) == {}


def test_what_has_not_begun_is_told_with_its_reason_once_for_all_that_wait_for_the_same(world: World) -> None:
    pause_queue(world.context.core, None, "release freeze", "ana")
    first, _ = world.dispatch()["run"], world.dispatch()["run"]
    world.context.turn()
    (held,) = world.http.get("/v1/brief?by=ana").json()["held"]
    assert held["run"] == first and "2 runs" in held["what"] and "release freeze" in held["what"]
    assert held["command"] == "pancode runs ls --waiting"
    pause_queue(world.context.core, None, None, "ana")
    world.node.breathe()
    assert world.http.get("/v1/brief?by=ana").json()["held"] == []


def test_an_unknown_cost_waits_for_a_user(world: World) -> None:
    play(world, usage=Usage(cost_usd=None, cost_source="unknown"))
    (line,) = told(world)["notes"]
    assert line["command"] == "pancode budget settle RUN --usd X"
    assert world.http.get("/v1/now").json()["money"]["notes"] == [line]


def test_a_disputed_claim_waits_for_a_user_and_is_named_wherever_money_is(world: World) -> None:
    run = play(world, usage=Usage(cost_usd=Decimal("9.75"), cost_source="reported"))
    told(world), world.http.post("/v1/looked", {"by": "ana"})
    for _ in range(2):  # also after the user has looked at the brief
        (line,) = (one for one in told(world)["notes"] if "settle" in one["command"])
        assert (line["run"], line["command"]) == (run, f"pancode budget settle {run} --usd X")
        assert "$9.50" in line["what"]
    day, *others = world.http.get("/v1/budget").json()["scopes"]
    assert {(one["spent_usd"], one["disputed_usd"]) for one in (day, *others)} == {("0.25", "9.50")}
    for by in ("run", "agent", "node", "day", "runtime"):
        cost = world.http.get("/v1/cost", by=by).json()
        assert [(one["usd"], one["disputed_usd"]) for one in (*cost["rows"], cost["total"])] == [
            ("0.25", "9.50"),
            ("0.25", "9.50"),
        ], by
    usage = world.http.get(f"/v1/runs/{run}").json()["usage"]
    assert (usage["cost_usd"], usage["disputed_usd"]) == ("0.25", "9.50")
    world.http.post("/v1/budget/settle", {"by": "ana", "run": run, "usd": "9.75"})
    assert told(world)["notes"] == []
    day = world.http.get("/v1/budget").json()["scopes"][0]
    assert (day["spent_usd"], day["disputed_usd"]) == ("9.75", "0.00")
    assert world.http.get("/v1/cost").json()["total"]["usd"] == "9.75"


def test_a_report_has_days_and_repositories(world: World) -> None:
    play(world)
    answer = world.http.get("/v1/report", by="ana").json()
    assert answer["brief"]["outcomes"] == {"done": 1}
    assert [row["usd"] for row in answer["by_day"]] == ["0.25"] == [r["usd"] for r in answer["by_repository"]]
    assert world.problem("GET", "/v1/report?since=soon")["code"] == "bad_value"


def test_the_audit_is_a_chain_that_names_what_does_not_fit(world: World) -> None:
    play(world)
    world.http.post("/v1/budget/ceiling", {"by": "ana", "usd": "20"})
    verdict = world.http.get("/v1/audit/verify").json()
    assert (verdict["verdict"], verdict["entry"]) == ("PASS", None) and verdict["entries"] > 2
    with world.context.ledger.transaction() as tx:
        tx.put(replace(tx.find(Audit, order="number")[1], what="nothing happened"))
    verdict = world.http.get("/v1/audit/verify").json()
    assert (verdict["verdict"], verdict["entry"]) == ("FAIL", 3)


def test_an_audit_that_was_written_anew_is_found_by_the_fleets_signature(world: World) -> None:
    play(world)
    world.http.post("/v1/budget/ceiling", {"by": "ana", "usd": "20"})
    assert world.http.get("/v1/audit/verify").json()["anchored"] == 1
    with world.context.ledger.transaction() as tx:
        first, *rest = tx.find(Audit, order="number")
        previous = replace(first, what="nothing happened")
        tx.put(previous)
        for entry in rest:
            previous = replace(entry, previous=digest_of(previous))
            tx.put(previous)
    verdict = world.http.get("/v1/audit/verify").json()
    assert (verdict["verdict"], verdict["entry"]) == ("FAIL", 1) and "fleet's key" in verdict["why"]


def test_filters_of_the_audit_narrow_it_down_together(world: World) -> None:
    world.http.post("/v1/budget/ceiling", {"by": "ana", "usd": "20"})
    world.problem("POST", "/v1/runs", world.shell(mode="plan"))
    both = world.http.get("/v1/audit", domain="budget", level="info").json()["audit"]
    assert [(e["domain"], e["detail"]["by"]) for e in both] == [("budget", "ana")]
    assert world.http.get("/v1/audit", domain="budget", level="error").json()["audit"] == []
    assert [e["detail"]["by"] for e in world.http.get("/v1/audit", by="ana").json()["audit"]] == ["ana"]
    same = world.http.get("/v1/audit", about="error", domain="dispatch").json()
    assert same == world.http.get("/v1/audit", about="dispatch", level="error").json() and same["audit"]
    assert world.problem("GET", "/v1/audit?domain=error")["exit_code"] == 4
    assert world.problem("GET", "/v1/audit?level=budget")["exit_code"] == 4


def test_runs_of_unknown_cost_are_read_again_only_when_they_are_others(world: World) -> None:
    nobody_knows = Usage(cost_usd=None, cost_source="unknown")
    first, live = play(world, usage=nobody_knows), world.context.core.live
    world.dispatch()
    known = live.unknown_runs
    assert known is not None and known[1:] == (1, (first,))
    world.dispatch()
    assert live.unknown_runs is known, "a run that costs nothing unknown changes nothing"
    settle_by_hand(world.context.core, first, Decimal(1), "ana")
    assert live.unknown_runs is None
    world.dispatch()
    assert live.unknown_runs is None, "none is unknown any more"
