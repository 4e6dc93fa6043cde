"""A webhook over TCP fires its schedule once, and a stranger learns nothing by asking."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pancode.config.notify import NotifyRules
from pancode.interfaces.http.access.store import KeyedRequest
from pancode.interfaces.http.access.tokens import MOST_FAILURES
from pancode.kernel.records import Audit, Run
from pancode.kernel.signature_check import MOST_A_MINUTE, MOST_BYTES, WITHIN_MS
from pancode.schedules.records import Firing
from pancode.schedules.scheduler import Scheduler
from pancode.schedules.store import KEPT
from pancode.schedules.webhook import AGAIN
from tests.unit.pancode.interfaces.http.test_tcp import BASE, ListenerWorld, code_of
from tests.unit.pancode.schedules.world import signed_headers

BODY = b'{"task": "rm -rf /", "by": "mallory"}'


class HookWorld(ListenerWorld):
    """A schedule `ci` on a webhook, and the program that has its secret."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.scheduler = Scheduler(self.context.core, self.coordinator.around)
        self.made = self.add("ci")
        self.secret = str(self.made["secret"])

    def add(self, name: str, **more: Any) -> dict[str, Any]:
        said = {"name": name, "on": "webhook", "dispatch": self.shell(task="echo $COMMIT"), **more}
        answer = self.http.post("/v1/schedules", said)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def send(self, said: dict[str, str], body: bytes = BODY, name: str = "ci") -> httpx2.Response:
        return asyncio.run(self._post(f"/v1/hooks/{name}", said, body))

    async def _post(self, path: str, said: dict[str, str], body: bytes) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.listener, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            return await client.post(path, headers=said, content=body)

    def signed(self, message: str = "msg_1", secret: str = "", body: bytes = BODY) -> dict[str, str]:
        return signed_headers(secret or self.secret, message, self.context.clock.wall_ms() // 1000, body)

    def call(self, message: str = "msg_1", name: str = "ci") -> dict[str, Any]:
        answer = self.send(self.signed(message), name=name)
        assert answer.status_code == 202, answer.text
        self.node.breathe()
        self.scheduler.run_pass()
        return dict(answer.json())

    def states(self, name: str = "ci") -> list[str]:
        rows = sorted(self.context.rows(Firing, schedule=name), key=lambda one: one.at_ms)
        return [one.state.value for one in rows]


@pytest.fixture
def world(tmp_path: Path) -> HookWorld:
    return HookWorld(tmp_path)


def test_a_signed_webhook_begins_the_work_once_however_often_it_comes(world: HookWorld) -> None:
    assert world.call() == {"schedule": "ci", "taken": True, "why": ""}
    (run,) = world.context.rows(Run)
    assert (run.created_by, run.task) == ("schedule:ci", "echo $COMMIT"), "nothing of the body gets in"
    assert world.call() == {"schedule": "ci", "taken": False, "why": AGAIN}
    world.context.restart()
    assert not world.call()["taken"] and len(world.context.rows(Run)) == 1, "nor after a restart"
    shown = world.http.get("/v1/schedules/ci").json()
    assert shown["words"] == "on a signed webhook" and shown["url"] == f"{BASE}/v1/hooks/ci"
    (firing,) = shown["firings"]
    assert firing["cause"] == {"kind": "webhook", "webhook": "msg_1"} and firing["state"] == "begun"
    told = [row for row in world.context.rows(Audit) if row.what == "called by a webhook"]
    assert [row.detail["webhook"] for row in told] == ["msg_1"]


def test_what_comes_while_one_runs_follows_it_and_the_newest_is_enough(world: HookWorld) -> None:
    for number in range(3):
        world.call(f"msg_{number}")
        world.context.clock.ms += 1
    assert world.states() == ["begun", "skipped", "waiting"] and len(world.context.rows(Run)) == 1
    world.node.carry_out()
    world.node.breathe()
    world.scheduler.run_pass()
    assert world.states() == ["begun", "skipped", "begun"] and len(world.context.rows(Run)) == 2


def test_gates_judge_when_it_comes_and_a_pause_is_not_made_up_for(world: HookWorld) -> None:
    world.http.post("/v1/fleet/drain", {"reason": "new disk"})
    world.call("msg_1")
    world.http.post("/v1/fleet/resume", {"by": "ana"})
    world.http.post("/v1/schedules/ci/pause", {"by": "ana", "reason": "release freeze"})
    assert world.call("msg_2") == {"schedule": "ci", "taken": False, "why": "release freeze"}
    world.http.post("/v1/schedules/ci/resume", {"by": "ana"})
    assert world.call("msg_2")["why"] == AGAIN, "one that came during the pause stays out"
    assert world.states() == ["refused", "skipped"] and world.context.rows(Run) == []
    assert world.call("msg_3")["taken"] and len(world.context.rows(Run)) == 1


def test_a_push_of_a_forge_is_taken_and_its_ping_begins_nothing(world: HookWorld) -> None:
    def said(body: bytes, event: str = "push", delivery: str = "d-1") -> dict[str, str]:
        signed = hmac.new(world.secret.encode(), body, hashlib.sha256).hexdigest()
        own = {"X-Hub-Signature-256": f"sha256={signed}", "X-GitHub-Delivery": delivery}
        return {**own, "X-GitHub-Event": event, "Content-Type": "application/x-www-form-urlencoded"}

    assert "ping" in world.send(said(BODY, "ping")).json()["why"]
    assert world.send(said(BODY)).json()["taken"]
    assert world.send(said(BODY, delivery="d-2")).json()["why"] == AGAIN, "an id that nobody signed"
    answer = world.send(said(b"[]", delivery="d-3"), b"[]")
    assert answer.status_code == 202, answer.text


def test_strangers_are_told_the_same_of_every_name(world: HookWorld) -> None:
    world.http.post("/v1/schedules", {"name": "nightly", "cron": "@daily", "dispatch": world.shell()})
    wrong = world.signed(secret="whsec_bm9uZQ==")
    told = [world.send(wrong, name=name) for name in ("ci", "none", "nightly", "%2e%2e", "a" * 300)]
    assert {code_of(one, 403) for one in told} == {"wrong_signature"}
    assert len({one.text for one in told}) == 1
    assert code_of(world.send({}), 403) == code_of(world.send({}, name="none"), 403) == "unsigned"
    late = world.signed()
    world.context.clock.ms += 5 * 60_000 + 2_000
    assert code_of(world.send(late), 403) == "stale_webhook"
    assert world.context.rows(Firing) == [] and world.context.rows(Run) == []


def test_failures_are_bounded_and_a_good_one_is_taken_all_the_while(world: HookWorld) -> None:
    wrong = world.signed(secret="whsec_bm9uZQ==")
    for _ in range(MOST_FAILURES):
        assert code_of(world.send(wrong), 403) == "wrong_signature"
    assert code_of(world.send(wrong), 429) == "too_many_failures"
    assert world.call()["taken"]


def test_good_ones_are_bounded_too_so_that_none_is_forgotten_in_time(
    world: HookWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_A_MINUTE * 2 * WITHIN_MS / 60_000 < KEPT
    monkeypatch.setattr("pancode.schedules.webhook.MOST_A_MINUTE", 3)
    for number in range(3):
        assert world.send(world.signed(f"msg_{number}")).status_code == 202
    refused = world.send(world.signed("msg_more"))
    assert code_of(refused, 429) == "too_many_webhooks" and refused.headers["retry-after"] == "60"
    world.context.clock.ms += 60_000
    assert world.call("msg_more")["taken"]


def test_odd_requests_are_refused_in_words(world: HookWorld) -> None:
    assert code_of(world.send(world.signed(), b"x" * (MOST_BYTES + 1)), 400) == "too_large"
    page = {**world.signed(), "Origin": "http://127.0.0.1:5173", "Sec-Fetch-Site": "same-site"}
    assert code_of(world.send(page), 403) == "wrong_origin"
    assert code_of(world.send({**world.signed(), "Host": "rebind.test"}), 421) == "wrong_host"
    assert code_of(world.send(world.signed(), name="ci?token=x"), 400) == "token_in_query"
    assert code_of(world.send(world.signed(), name="ci?ref=main"), 400) == "unknown_key"
    assert world.send({**world.signed("msg_9"), "Authorization": "Basic eDp5"}).status_code == 202


def test_the_secret_is_told_once_and_goes_with_its_schedule(world: HookWorld) -> None:
    assert world.coordinator.kept == {"schedule-ci": world.secret} and len(world.secret) > 40
    for path in ("/v1/schedules", "/v1/schedules/ci", "/v1/audit"):
        assert world.secret not in world.http.get(path).text
    said = {"name": "ci", "on": "webhook", "dispatch": world.shell()}
    assert world.add("dry", dry_run=True)["secret"] is None and list(world.coordinator.kept) == [
        "schedule-ci"
    ]
    assert world.problem("POST", "/v1/schedules", said)["code"] == "name_taken"
    assert world.coordinator.kept == {"schedule-ci": world.secret}, "that of the first one stays"
    world.http.post("/v1/schedules/ci/remove", {"by": "ana"})
    assert world.coordinator.kept == {} and code_of(world.send(world.signed()), 403) == "wrong_signature"
    again = world.add("ci")
    assert code_of(world.send(world.signed()), 403) == "wrong_signature", "that of the one before it"
    world.secret = again["secret"]
    assert world.call()["taken"]
    world.coordinator.kept.clear()
    assert code_of(world.send(world.signed("msg_2")), 403) == "wrong_signature"


def test_the_secret_is_not_kept_with_the_request_that_made_it(world: HookWorld) -> None:
    body, key = {"name": "keyed", "on": "webhook", "dispatch": world.shell()}, {"Idempotency-Key": "k-1"}
    first = world.http.post("/v1/schedules", body, key).json()
    again = world.http.post("/v1/schedules", body, key)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == {**first, "secret": None} and first["secret"]
    assert first["secret"] not in repr(world.context.rows(KeyedRequest))


def test_where_it_is_called_is_the_public_address_and_a_closed_door_is_told(world: HookWorld) -> None:
    world.coordinator.rules = NotifyRules(console="https://desk.example.org/")
    (shown,) = world.http.get("/v1/schedules").json()["schedules"]
    assert shown["url"] == "https://desk.example.org/v1/hooks/ci"
    del world.api.facts["api"]
    (shown,) = world.http.get("/v1/schedules").json()["schedules"]
    assert shown["url"] is None and "api.listen" in shown["warnings"][0]


def test_a_schedule_of_a_token_that_was_revoked_is_called_in_vain(world: HookWorld) -> None:
    token = world.token("dispatch", name="bot")
    said = {"name": "bots", "on": "webhook", "dispatch": world.shell()}
    made = world.ask("POST", "/v1/schedules", token, said).json()
    world.secret = made["secret"]
    world.http.post("/v1/tokens/bot/revoke", {"by": "ana"})
    assert "token bot" in world.call(name="bots")["why"] and world.context.rows(Run) == []
