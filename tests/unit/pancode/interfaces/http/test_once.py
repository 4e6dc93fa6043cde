"""A request with an idempotency key begins one thing: told again the same, also after a restart."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pancode.app.http_routes import VERBS
from pancode.interfaces.http import routing
from pancode.interfaces.http.access.idempotency import KEPT_MS, MOST_KEPT, RequestMark, begin_request
from pancode.interfaces.http.access.store import KeyedRequest
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.records import Run
from pancode.runs.dispatch import dispatch_run
from pancode.runs.routes import runs as run_routes
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld
from tests.unit.pancode.interfaces.http.world import World

KEY = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def send(world: World, key: str = KEY, path: str = "/v1/runs", **more: Any) -> httpx2.Response:
    body = world.shell(**more) if path == "/v1/runs" else more
    return world.http.post(path, body, {"Idempotency-Key": key})


def told(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """The problem, which says why and what to do."""
    assert answer.status_code == status, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["why"] and problem["fix"]
    assert "idempotency-replayed" not in answer.headers
    return problem


def runs(world: World) -> list[Run]:
    with world.context.ledger.transaction() as tx:
        return tx.find(Run)


def test_the_same_request_is_answered_the_same_again(world: World) -> None:
    first = send(world)
    assert first.status_code == 201 and "idempotency-replayed" not in first.headers
    again = send(world)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert len(runs(world)) == 1
    assert send(world, "another").json()["run"] != first.json()["run"]


def test_the_key_is_kept_over_a_restart_and_for_a_day(world: World) -> None:
    first = send(world)
    world.context.restart()
    assert send(world).content == first.content and len(runs(world)) == 1
    world.context.clock.ms += KEPT_MS - 1
    assert send(world).content == first.content
    world.context.clock.ms += 1
    assert send(world).json()["run"] != first.json()["run"]


def test_another_body_or_route_with_the_same_key_is_refused(world: World) -> None:
    run = send(world).json()["run"]
    assert told(send(world, task="false"), 422)["code"] == "key_reused"
    problem = told(send(world, path=f"/v1/runs/{run}/continue", text="go on"), 422)
    assert problem["code"] == "key_reused" and "another route" in problem["why"]
    assert len(runs(world)) == 1


def test_of_two_at_once_one_begins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes while the first is at work in another thread, and then gets its answer."""
    entered, go_on = threading.Event(), threading.Event()
    answers = list[httpx2.Response]()
    real = dispatch_run

    def slow(*asked: Any) -> Any:
        entered.set()
        assert go_on.wait(30)
        return real(*asked)

    monkeypatch.setattr(run_routes, "dispatch_run", slow)
    first = threading.Thread(target=lambda: answers.append(send(world)))
    first.start()
    assert entered.wait(30)
    assert told(send(world), 409)["code"] == "key_at_work"
    assert told(send(world, task="false"), 422)["code"] == "key_reused"
    go_on.set()
    first.join()
    assert answers[0].status_code == 201
    assert send(world).content == answers[0].content and len(runs(world)) == 1


def test_many_at_once_begin_one(world: World) -> None:
    answers = list[httpx2.Response]()
    threads = [threading.Thread(target=lambda: answers.append(send(world))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 and len(runs(world)) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {a.json()["run"] for a in answers if a.status_code == 201} == {runs(world)[0].id}


def test_what_was_refused_began_nothing_and_may_be_tried_again(world: World) -> None:
    refused = send(world, runtime="shel")
    assert 400 <= refused.status_code < 500
    assert send(world, runtime="shel").status_code == refused.status_code
    assert send(world).status_code == 201, "repaired, and sent with the same key"


@pytest.mark.parametrize("restarts", [False, True])
def test_after_a_crash_it_is_not_begun_again_and_this_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """The run was queued, and the process ended before it wrote the answer down."""
    monkeypatch.setattr(routing, "store_answer", broken)
    assert send(world).status_code == 201, "it has begun, and this is told"
    if restarts:
        world.context.restart()
    else:
        world.context.core.live.visits.at_work.clear()
    problem = told(send(world), 409)
    assert problem["code"] == "key_outcome_unknown" and "pancode runs" in problem["fix"]
    assert len(runs(world)) == 1
    assert send(world, "new").status_code == 201


def broken(*asked: object) -> None:
    raise UnavailableError("the disk is full")


def test_what_failed_half_way_is_not_begun_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_routes, "describe_queued", fails)
    assert send(world).status_code == 500
    assert told(send(world), 409)["code"] == "key_outcome_unknown"
    assert len(runs(world)) == 1


def fails(*asked: object) -> None:
    raise ValueError("a defect")


@pytest.mark.parametrize("key", ["", "k" * 201, "a\tb", "gr\u00fcn", "\x7f"])
def test_what_is_no_key(world: World, key: str) -> None:
    answer = world.http.post("/v1/runs", world.shell(), {"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]
    assert told(answer, 400)["code"] == "bad_key"
    assert runs(world) == []


def test_the_longest_key_is_one(world: World) -> None:
    assert send(world, "~ " * 99 + "~~").status_code == 201


def test_a_workflow_and_a_retry_begin_once(world: World) -> None:
    run = world.dispatch()["run"]
    world.node.deliver(world.claim())
    world.context.turn()
    retries = [send(world, "r", f"/v1/runs/{run}/retry") for _ in range(2)]
    assert retries[0].status_code == 201, retries[0].text
    assert retries[0].content == retries[1].content and len(runs(world)) == 2
    steps = [{"name": "a", "dispatch": world.shell()}]
    began = [send(world, "w", "/v1/workflows", kind="chain", steps=steps) for _ in range(2)]
    assert began[0].status_code == 201, began[0].text
    assert began[0].content == began[1].content
    assert len(world.http.get("/v1/workflows").json()["workflows"]) == 1


def test_keys_are_of_one_caller(tmp_path: Path) -> None:
    """Two tokens and the owner use the same key, and each begins its own."""
    world = ListenerWorld(tmp_path)
    tokens = [world.token("dispatch", name=name) for name in ("a", "b")]
    made = [
        world.ask("POST", "/v1/runs", token, world.shell(), Idempotency_Key=KEY).json()["run"]
        for token in (*tokens, *tokens)
    ]
    assert made[:2] == made[2:] and made[0] != made[1]
    assert send(world).json()["run"] not in made
    assert len(runs(world)) == 3
    refused = world.ask("POST", "/v1/runs", world.token("read"), world.shell(), Idempotency_Key=KEY)
    assert refused.status_code == 403


def test_the_oldest_go_when_there_are_too_many(world: World) -> None:
    now = world.context.clock.wall_ms()
    with world.context.ledger.transaction() as tx:
        for number in range(MOST_KEPT):
            began = now - MOST_KEPT + number
            tx.put(KeyedRequest("socket", f"k{number:05}", "POST /v1/runs", "d", began, 201))
    assert send(world).status_code == 201
    with world.context.ledger.transaction() as tx:
        assert len(tx.find(KeyedRequest)) == MOST_KEPT
        assert tx.get(KeyedRequest, "socket", "k00000") is None
        assert tx.get(KeyedRequest, "socket", "k00001") is not None
    world.context.clock.ms += KEPT_MS + 1
    send(world, "later")
    with world.context.ledger.transaction() as tx:
        assert len(tx.find(KeyedRequest)) < MOST_KEPT


def test_one_at_work_is_not_forgotten_for_its_age(world: World) -> None:
    core, mark = world.context.core, RequestMark("socket", "long", "POST /v1/runs", "d")
    assert begin_request(core, mark) is None
    world.context.clock.ms += KEPT_MS + 1
    send(world)
    with pytest.raises(PancodeError) as raised:
        begin_request(core, mark)
    assert raised.value.problem().code == "key_at_work"


def test_which_routes_take_a_key() -> None:
    """All that begin work; none whose answer holds a secret, for the answer is kept."""
    taking = {verb.name for verb in VERBS if verb.takes_key}
    assert {
        "POST /v1/runs",
        "POST /v1/workflows",
        "POST /v1/runs/{run}/continue",
        "POST /v1/runs/{run}/retry",
        "POST /v1/runs/{run}/land",
        "POST /v1/schedules/{schedule}/run",
    } <= taking
    assert not {name for name in taking if "token" in name or "web" in name}
