"""The zone of a machine, and how schedules look in words."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.schedules import commands as zones
from pancode.schedules.commands import format_schedule, format_schedules


@pytest.mark.parametrize(
    ("tz", "linked", "is_"),
    [
        ("Europe/Berlin", "/usr/share/zoneinfo/Asia/Tokyo", "Europe/Berlin"),
        (":/usr/share/zoneinfo/America/Lima", "/x", "America/Lima"),
        ("CET-1CEST", "/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
        ("", "/etc/localtime", "UTC"),
    ],
)
def test_the_zone_of_a_machine(monkeypatch: pytest.MonkeyPatch, tz: str, linked: str, is_: str) -> None:
    monkeypatch.setattr("os.path.realpath", lambda path: linked)
    monkeypatch.setattr(zones, "_NAMED", "/nonexistent")
    assert zones.local_zone({"TZ": tz}) == is_


def a_schedule(**more: Any) -> Any:
    firing: dict[str, Any] = {
        "due_at": "2026-11-22T10:00:00.000Z",
        "state": "refused",
        "run": None,
        "workflow": None,
    }
    firing |= {"reason": "no \x1b[2Jroom", "fix": "pancode budget set 20", "cause": {}, "late": True}
    told: dict[str, Any] = {
        "schedule": "nightly",
        "paused": None,
        "running": None,
        "trigger": {"kind": "cron"},
    }
    told |= {"words": "At 02:30", "next": ["Mon 2026-11-23 02:30 +01:00"], "firings": [firing]}
    told |= {"warnings": [], "url": "", "secret": ""}
    return told | {"task": "t", "missed": "once", "overlap": False, **more}


def test_a_refused_firing_stands_in_the_list_with_its_fix() -> None:
    told = format_schedules([a_schedule()])
    assert "last firing refused" in told and "pancode budget set 20" in told and "\x1b" not in told


def test_where_a_webhook_is_sent_to_and_its_secret_once() -> None:
    hook = a_schedule(trigger={"kind": "webhook"}, words="on a signed webhook", next=[], firings=[])
    at = {"url": "http://127.0.0.1:7433/v1/hooks/nightly"}
    made = format_schedule(hook | {**at, "secret": "whsec_abc"})
    assert "nightly  waiting  on a signed webhook" in made and f"webhook  POST {at['url']}\n" in made
    assert made.count("whsec_abc") == 1 and "secret" not in format_schedule(hook | at)
    assert f"  POST {at['url']}\n" in format_schedules([hook | at])
    assert "set api.listen" in format_schedules(
        [hook | {"warnings": ["no webhook reaches the schedule: set api.listen"]}]
    )


def test_states_in_words() -> None:
    assert "nightly  paused" in format_schedule(a_schedule(paused="release freeze"))
    assert "nightly  running" in format_schedule(a_schedule(running="r-1"))
    assert "nightly  over" in format_schedule(a_schedule(next=[]))
    assert "pancode schedule add" in format_schedules([])
