"""How an event of the fleet is told in a line."""

from __future__ import annotations

from pancode.cli.events import _line


def test_an_event_is_one_line_whatever_its_values_are() -> None:
    data = {"attempt": 1, "detail": "", "failure": None, "reason": "a\x1b[2J\nb"}
    told = _line(
        {"at": "2026-11-22T09:44:44Z", "kind": "run.stage", "run": "r-1", "node": None, "data": data}
    )
    assert told == "11-22 09:44:44  run.stage     r-1  attempt=1  reason=a\\x1b[2J b\n"
