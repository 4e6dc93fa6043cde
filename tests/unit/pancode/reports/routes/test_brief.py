"""What happened since somebody last looked; and the audit's chain, through the API."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.receipt import Usage
from pancode.config.fleet_settings import pause_queue
from pancode.kernel.records import Audit, Run
from pancode.kernel.values import replace
from pancode.people.commands.inbox import _format_list
from pancode.runs.ceilings import settle_by_hand
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


def test_each_user_hears_of_everything_once(world: World) -> None:
    done = play(world)
    stuck = play(world, **failed(FailureKind.NEEDS_USER, Outcome.BLOCKED))
    first = told(world)
    assert first["outcomes"] == {"done": 1, "blocked": 1}
    assert [line["run"] for line in first["ran"]] == [stuck, done]
    (question,) = first["waits"]
    assert question["run"] == stuck and question["command"].startswith(f"pancode answer {stuck}")
    assert (first["cost"]["usd"], first["cost"]["runs"]) == ("0.50", 2)
    world.http.post("/v1/brief/looked", {"by": "ana"})
    world.context.turn(1_000)
    later = told(world)
    assert (later["outcomes"], later["ran"], later["cost"]["runs"]) == ({}, [], 0)
    assert told(world, since="1h")["outcomes"] == first["outcomes"], "as asked for, whenever she looked"
    assert world.http.get("/v1/brief", by="ben").json()["outcomes"] == first["outcomes"], (
        "each has an own look"
    )


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
    assert [line["run"] for line in told(world)["waits"]] == [stuck]
    world.http.post(f"/v1/runs/{stuck}/continue", {"by": "ben"})
    assert told(world, since="1h")["waits"] == []


def waits(world: World, by: str) -> dict[str, list[str]]:
    """The runs that wait for this user, by the face that names them: inbox, brief and the summary."""
    inbox = world.http.get("/v1/inbox").json()
    now = world.http.get("/v1/now", by=by).json()
    changes = [line["run"] for line in inbox["also"] if line.get("kind") == "review"]
    assert now["review"]["changes"] == len(changes)
    return {
        "inbox": sorted(line["run"] for line in inbox["also"]),
        "brief": sorted(line["run"] for line in world.http.get("/v1/brief", by=by).json()["waits"]),
        "now": sorted([*changes, *(need["run"] for need in now["needs"])]),
    }


def test_a_look_removes_no_failure_from_any_face(world: World) -> None:
    """`pancode status` on a terminal removed failed gates and failures of a node from all faces."""
    left, gate = changed(world), play(world, **failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED))
    infra = play(world, **failed(FailureKind.NODE_REBOOTED, Outcome.INFRA))
    expected = dict.fromkeys(("inbox", "brief", "now"), sorted((left, gate, infra)))
    assert waits(world, "ana") == expected
    world.http.post("/v1/brief/looked", {"by": "ana"})
    world.context.turn(1_000)
    ended = world.http.get("/v1/now", by="ana").json()["ended"]
    assert ended["count"] == 0, "only what has ended since the look changes"
    assert waits(world, "ana") == waits(world, "ben") == expected


def test_a_failure_waits_until_it_is_retried_continued_or_dropped(world: World) -> None:
    ends = failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED)
    first, second, third = (play(world, **ends) for _ in range(3))
    world.http.post(f"/v1/runs/{first}/retry", {"by": "ana"})
    world.http.post(f"/v1/runs/{second}/continue", {"by": "ana"})
    assert waits(world, "ana")["inbox"] == [third]
    world.http.post(f"/v1/runs/{third}/land/drop", {"by": "ana"})
    assert waits(world, "ana") == {"inbox": [], "brief": [], "now": []}


def test_what_waits_is_one_list_for_the_inbox_and_the_brief(world: World) -> None:
    """The inbox said that nothing waits, while the brief listed seven."""
    changed(world), play(world, **failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED))
    play(world, usage=Usage(cost_usd=None, cost_source="unknown"))
    also: list[dict[str, Any]] = []
    for _ in range(2):
        inbox = world.http.get("/v1/inbox", by="ana").json()
        also = inbox["also"]
        assert inbox["items"] == [] and inbox["also"] == told(world)["waits"] != []
        world.http.post("/v1/brief/looked", {"by": "ana"})
        world.context.turn(1_000)
    text = _format_list([], also)
    assert "has a change that is not landed" in text and "pancode budget settle RUN --usd X" in text
    assert _format_list([], []) == "nothing waits for you\n"


def test_a_change_is_offered_until_it_is_denied_or_goes_on_in_another_run(world: World) -> None:
    first, second = changed(world), changed(world)
    assert [line["run"] for line in told(world)["waits"]] == [second, first]
    change(world, first, landing={"status": "denied", "why": "denied by ben", "fix": ""})
    change(world, second, result={**world.context.row(Run, second).result, "continued_by": ["r-9999"]})
    assert told(world)["waits"] == []


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
    (line,) = told(world)["waits"]
    assert line["command"] == "pancode budget settle RUN --usd X"


def test_a_disputed_claim_waits_for_a_user_and_is_named_wherever_money_is(world: World) -> None:
    run = play(world, usage=Usage(cost_usd=Decimal("9.75"), cost_source="reported"))
    told(world), world.http.post("/v1/looked", {"by": "ana"})
    for _ in range(2):  # also after the user has looked at the brief
        (line,) = (one for one in told(world)["waits"] if "settle" in one["command"])
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
    assert told(world)["waits"] == []
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
