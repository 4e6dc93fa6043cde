"""Events become deliveries once, are tried within bounds, and a target that fails is shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.config.notify import NoticeRoute, NotifyRules, QuietHours
from pancode.interfaces.http.access import tokens
from pancode.kernel.errors import NotFoundError, UnavailableError
from pancode.kernel.records import Audit, Run
from pancode.kernel.values import replace
from pancode.notices import batching
from pancode.notices.deliverer import Outgoing
from pancode.notices.records import Delivery
from tests.unit.pancode.runs.world import failed
from tests.unit.pancode.schedules.world import HOUR, Times

FAILS: dict[str, Any] = failed(FailureKind.AGENT_FAILED, Outcome.ERROR)


class Post:
    """Keeps what it is given; `down`: nothing gets through."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.down = ""
        self.now = NotifyRules({"phone": "ntfy"}, (NoticeRoute(("phone",)),))

    def rules(self) -> NotifyRules:
        return self.now

    def secret(self, name: str) -> str:
        if name == "gone":
            raise NotFoundError("secret gone not found")
        return f"ntfy://host/{name}"

    def notify(self, address: str, notice: Mapping[str, Any]) -> None:
        if self.down:
            raise UnavailableError(self.down)
        self.notices.append(str(notice["text"]))


class Noticed(Times):
    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.http = self.world.http
        self.post = Post()
        self.world.coordinator.rules = self.post.now
        self.outgoing = self.deliverer()
        self.outgoing.run_pass(here=True)

    def deliverer(self) -> Outgoing:
        return Outgoing(self.desk.core, self.post, tokens)

    def fail(self, count: int = 1) -> None:
        for _ in range(count):
            self.world.dispatch(task="false")
            self.play(**FAILS)

    def next_minute(self) -> None:
        self.desk.clock.ms += batching.A_MINUTE
        self.outgoing.run_pass(here=True)


@pytest.fixture
def world(tmp_path: Path) -> Noticed:
    return Noticed(tmp_path)


def test_a_failure_is_told_once_and_a_restart_repeats_nothing(world: Noticed) -> None:
    world.fail()
    world.outgoing.run_pass(here=True)
    world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 1 and "error: builder" in world.post.notices[0]
    world.desk.restart()
    world.outgoing = world.deliverer()
    world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 1 and world.desk.rows(Delivery) == []


def test_a_new_channel_gets_no_news_from_before_it_existed(world: Noticed) -> None:
    """The first channel of a fleet, after a restart, was sent a digest of 30 old notices."""
    channels, world.post.now = world.post.now, NotifyRules()
    world.outgoing.run_pass(here=True)
    world.fail()
    world.outgoing.run_pass(here=True)
    world.post.now = channels
    world.desk.restart()
    world.outgoing = world.deliverer()
    world.outgoing.run_pass(here=True)
    assert world.post.notices == [] and world.desk.rows(Delivery) == []
    world.fail()
    world.desk.restart()
    world.outgoing = world.deliverer()
    world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 1, "what happens after that is told, over a restart too"


def test_a_round_makes_one_try_of_a_target_and_leaves_it_alone_after_one_that_failed(world: Noticed) -> None:
    world.post.down = "no answer"
    world.fail(3)
    for _ in range(3):
        world.outgoing.run_pass(here=True)
    assert [one.tries for one in world.desk.rows(Delivery)] == [1, 1, 1]
    world.post.down = ""
    world.desk.clock.ms += batching.NOTICE_AGAIN_MS[0]
    world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 1 and world.desk.rows(Delivery) == []


def test_the_rest_of_a_minute_is_counted_in_the_next_message(world: Noticed) -> None:
    world.fail()
    world.outgoing.run_pass(here=True)
    world.fail(3)
    world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 1
    world.desk.restart()
    world.outgoing = world.deliverer()
    world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 1, "a restart does not start the minute again"
    world.next_minute()
    (_, second) = world.post.notices
    newest = max(world.desk.rows(Run), key=lambda run: run.finished_ms or 0).id
    assert second.startswith(f"{newest} error: builder") and second.endswith(
        "and 2 more notices: pancode status"
    )
    world.next_minute()
    assert len(world.post.notices) == 2 and world.desk.rows(Delivery) == []


def test_rows_of_webhooks_of_an_earlier_version_are_given_up_and_hold_up_no_notice(world: Noticed) -> None:
    """Earlier versions sent signed events to addresses; their rows may still wait in the ledger."""
    now = world.desk.core.wall_ms()
    with world.desk.ledger.transaction() as tx:
        tx.put(Delivery("webhook:ci:7", "webhook:ci", now, "run.failed", {"type": "run.failed"}, now))
    world.fail()
    for _ in range(2):
        world.outgoing.run_pass(here=True)
    assert world.desk.rows(Delivery) == [] and len(world.post.notices) == 1
    (told,) = [one for one in world.desk.rows(Audit) if one.what == "notice not delivered"]
    assert told.detail["words"] == "the settings no longer have this channel"
    assert world.http.get("/v1/notify").json()["troubles"] == []


def test_a_try_that_cannot_be_written_down_is_not_made_again_at_once(
    world: Noticed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UnavailableError("the disk is full")

    world.fail()
    monkeypatch.setattr("pancode.notices.store.record_attempt", full)
    for _ in range(3):
        world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 1, "the channel is left alone for a while"
    monkeypatch.undo()
    world.desk.clock.ms += batching.NOTICE_AGAIN_MS[0]
    world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 2 and world.desk.rows(Delivery) == []


def test_old_deliveries_of_a_target_that_takes_nothing_are_dropped_and_shown(
    world: Noticed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MOST_WAITING", 2)
    world.post.down = "no answer"
    world.fail(5)
    world.outgoing.run_pass(here=True)
    assert len(world.desk.rows(Delivery)) == 2
    (told,) = [one for one in world.desk.rows(Audit) if one.what == "notice not delivered"]
    assert "dropped" in str(told.detail["words"])


def test_what_happens_while_nobody_sends_is_sent_later(world: Noticed) -> None:
    world.fail()
    world.desk.restart()
    world.outgoing = world.deliverer()
    world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 1


def test_a_channel_that_fails_is_shown_and_given_up(world: Noticed) -> None:
    world.post.down = "HTTP 403"
    world.fail()
    for _ in range(8):
        world.outgoing.run_pass(here=True)
        world.desk.clock.ms += 400_000
    assert world.desk.rows(Delivery) == []
    answer = world.http.get("/v1/notify").json()
    assert answer["channels"][0]["trouble"] == "HTTP 403" and "phone" in answer["troubles"][0]
    (told,) = [one for one in world.desk.rows(Audit) if one.what == "notice not delivered"]
    assert told.detail["target"] == "notify:phone"
    world.post.down = ""
    made = world.http.post("/v1/notify/test", {"channel": "phone", "by": "ana"}).json()
    world.outgoing.run_pass(here=True)
    assert world.post.notices == ["this is a test, requested by ana"]
    shown = world.http.get("/v1/notify").json()
    assert shown["troubles"] == [] and shown["channels"][0]["last_tried_at"] >= made["created_at"]


def test_a_lost_secret_is_a_failure_with_its_reason(world: Noticed) -> None:
    world.post.now = world.world.coordinator.rules = NotifyRules(
        {"phone": "gone"}, (NoticeRoute(("phone",)),)
    )
    world.fail()
    world.outgoing.run_pass(here=True)
    assert len(world.desk.rows(Delivery)) == 1
    assert "secret gone not found" in world.http.get("/v1/notify").json()["channels"][0]["trouble"]


def test_quiet_hours_hold_back_and_then_tell(world: Noticed) -> None:
    quiet = QuietHours(0, 23 * 60 + 59, "UTC")
    world.post.now = NotifyRules({"phone": "ntfy"}, (NoticeRoute(("phone",)),), quiet)
    world.fail()
    world.outgoing.run_pass(here=True)
    assert world.post.notices == [] and len(world.desk.rows(Delivery)) == 1
    world.desk.clock.ms += 24 * HOUR
    world.outgoing.run_pass(here=True)
    assert len(world.post.notices) == 1


def test_a_broken_chain_of_the_audit_is_told_once(world: Noticed) -> None:
    """And with it all that the audit has of the kind: forged messages, a machine in quarantine."""
    world.fail()
    world.outgoing.run_pass(here=True)
    world.post.notices.clear()
    with world.desk.ledger.transaction() as tx:
        tx.put(replace(tx.find(Audit, order="number")[0], what="nothing happened"))
    for _ in range(2):
        assert world.http.get("/v1/audit/verify").json()["verdict"] == "FAIL"
    world.next_minute()
    assert world.post.notices == ["the audit chain is broken: recorded in the audit\npancode audit trust"]


def test_unknown_names_are_refused(world: Noticed) -> None:
    assert world.world.problem("POST", "/v1/notify/test", {"channel": "phon"})["status"] == 404
