"""Who is told, in which words, and when."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.config.notify import NoticeRoute, NotifyRules, QuietHours
from pancode.config.schema import Notify
from pancode.kernel.records import EventKind, FeedEvent
from pancode.notices.batching import Sending, again_ms, to_send
from pancode.notices.records import Delivery
from pancode.notices.texts import count_others, notice_of, strip_unprintable
from pancode.runs.occasions import occasion_of
from tests.unit.pancode.schedules.test_times import ms

FACTS = {"agent": "builder", "node": "gpubox", "repo": "/srv/shop", "outcome": "error"}


def an_event(kind: EventKind = EventKind.RUN_ENDED, /, **data: Any) -> FeedEvent:
    return FeedEvent(7, 1_000, kind, "r-1", None, {"outcome": "error", **data})


@pytest.mark.parametrize(
    ("kind", "data", "is_"),
    [
        (EventKind.RUN_ENDED, {"outcome": "error"}, "run.failed"),
        (EventKind.RUN_ENDED, {"outcome": "done"}, "run.done"),
        (EventKind.RUN_ENDED, {"outcome": "interrupted"}, None),
        (EventKind.RUN_ENDED, {"outcome": "blocked"}, None),
        (EventKind.INBOX_ITEM, {}, "run.asks"),
        (EventKind.WORKFLOW_ENDED, {"state": "partial"}, "workflow.failed"),
        (EventKind.WORKFLOW_ENDED, {"state": "stopped"}, None),
        (EventKind.NODE_STATE, {"state": "unreachable", "was": "suspect"}, "node.lost"),
        (EventKind.NODE_STATE, {"state": "lost", "was": "unreachable"}, None),
        (EventKind.SCHEDULE_FIRED, {"state": "refused"}, "schedule.failed"),
        (EventKind.SCHEDULE_FIRED, {"state": "begun"}, None),
        (EventKind.AUDIT, {"domain": "trust", "level": "error", "what": "receipt rejected"}, "trust.broken"),
        (EventKind.AUDIT, {"domain": "trust", "level": "warning"}, None),
        (EventKind.RUN_STAGE, {}, None),
        (EventKind.RUN_ENDED, {"outcome": "done", "judges": "r-0"}, None),
        (EventKind.RUN_ENDED, {"outcome": "verify_failed", "judges": "r-0"}, None),
    ],
)
def test_occasions(kind: EventKind, data: dict[str, Any], is_: str | None) -> None:
    assert occasion_of(FeedEvent(1, 0, kind, "r-1", None, data)) == is_


def test_a_notice_says_what_why_the_command_and_a_link() -> None:
    told = notice_of(an_event(reason="a gate \x1b[2J\nfailed"), "run.failed", FACTS, "https://desk:7433/")
    assert told.text == "r-1 error: builder on gpubox: a gate [2J failed\npancode runs show r-1"
    assert told.link == "https://desk:7433/#/runs/r-1"
    asked = an_event(EventKind.INBOX_ITEM, kind="question", words="Which port?", command="pancode answer r-1")
    assert notice_of(asked, "run.asks", FACTS, None).text == (
        "r-1 waits for you: question: Which port?\npancode answer r-1"
    )
    assert notice_of(asked, "run.asks", FACTS, None).row()["asks"] == "r-1"
    held = an_event(EventKind.INBOX_ITEM, kind="landing", words="its change", command="pancode approve r-1")
    assert "asks" not in notice_of(held, "run.asks", FACTS, None).row()
    long = notice_of(an_event(reason="x" * 5_000), "run.failed", FACTS, None)
    assert len(long.text) <= 300 and long.text.endswith("...\npancode runs show r-1"), "the whole command"
    assert strip_unprintable("a\tb‮c", 10) == "a b c"


def test_rules_choose_channels_by_kind_agent_node_and_repository() -> None:
    rules = NotifyRules(
        {"phone": "a", "mail": "b"},
        (
            NoticeRoute(("phone", "gone"), ("ended_badly",), agents=("builder",), repositories=("shop",)),
            NoticeRoute(("mail", "phone"), ("ended_badly", "waits"), nodes=("gpubox",)),
        ),
    )
    assert rules.channels_for("ended_badly", FACTS) == ("phone", "mail")
    assert rules.channels_for("waits", FACTS) == ("mail", "phone")
    assert rules.channels_for("waits", {**FACTS, "node": "other"}) == ()
    assert rules.channels_for("ended_well", FACTS) == () and rules.unknown_channels() == ("gone",)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-22 21:59", None),
        ("2026-11-22 22:00", "2026-11-23 07:00"),
        ("2026-11-23 06:59", "2026-11-23 07:00"),
        ("2026-11-23 07:00", None),
        ("2027-03-27 23:00", "2027-03-28 07:00"),
    ],
)
def test_quiet_hours_go_over_midnight(now: str, until: str | None) -> None:
    quiet = QuietHours(22 * 60, 7 * 60, "Europe/Berlin")
    assert quiet.until_ms(ms(now)) == (None if until is None else ms(until))
    rules = NotifyRules(quiet=quiet, urgent=("node_lost",))
    assert rules.due_ms("waits", ms(now)) == (ms(now) if until is None else ms(until))
    assert rules.due_ms("node_lost", ms(now)) == ms(now)


def waiting(count: int, due: int = 0, kind: str = "ended_badly") -> list[Delivery]:
    return [Delivery(f"notify:p:{kind}{n}", "notify:p", 0, kind, {}, due) for n in range(count)]


def test_one_message_a_minute_and_never_a_question_in_it() -> None:
    three, asks = waiting(3), waiting(2, kind="waits")
    assert to_send(three, 0, 100_000) == Sending(tuple(three))
    assert to_send(three, 99_000, 100_000) == Sending((), 159_000)
    assert to_send(three, 40_000, 100_000) == Sending(tuple(three)), "the minute is over"
    assert to_send(three, 200_000, 100_000) == Sending(tuple(three)), "the clock was set back"
    assert to_send([*three, *asks], 99_000, 100_000) == Sending((asks[0],)), "alone, and at once"
    assert to_send(waiting(2, due=109_000), 0, 100_000) == Sending((), 109_000)
    assert to_send([*three, *waiting(1, due=109_000)], 99_000, 100_000) == Sending((), 109_000)


def test_the_rest_is_counted_and_a_row_of_an_older_version_is_still_text() -> None:
    assert count_others({"text": "a\nb"}, 0)["text"] == "a\nb"
    assert count_others({"text": "a\nb"}, 1)["text"] == "a\nb\nand 1 more notice: pancode status"
    assert count_others({"title": "r-1 error", "body": "why"}, 2)["text"] == (
        "r-1 error\nwhy\nand 2 more notices: pancode status"
    )


def test_tries_are_bounded() -> None:
    assert [again_ms(n) for n in (1, 3, 4)] == [15_000, 300_000, None]


def test_settings_name_the_address_and_do_not_hold_it() -> None:
    said = {"channels": {"phone": {"url": "secret:ntfy"}}, "quiet": "22:00-07:00 Europe/Berlin"}
    rules = Notify.model_validate(said).routes()
    assert rules.channels == {"phone": "ntfy"} and rules.routes[0].to == ("phone",)
    assert "ended_well" not in rules.routes[0].kinds
    for console, is_open, is_ in (
        ("https://desk.example.org", True, True),
        ("https://desk.example.org", False, False),
        ("http://desk.example.org", True, False),
        ("http://localhost:7433", True, True),
        (None, True, False),
    ):
        told = {**said, "console": console}
        assert Notify.model_validate(told).routes(is_open).answers is is_, console
        assert not Notify.model_validate({**told, "answers": False}).routes(is_open).answers
    for bad in (
        {"channels": {"phone": {"url": "ntfy://me:pass@host/x"}}},
        {"quiet": "22-7"},
        {"quiet": "22:00-07:00 Mars/X"},
        {"rules": [{"to": ["phone"], "kinds": ["everything"]}]},
        {"console": "javascript:alert(1)"},
    ):
        with pytest.raises(ValueError):
            Notify.model_validate(bad)
