"""The inbox as lines: nothing that the person says yes to is left out."""

from __future__ import annotations

from typing import Any

from pancode.cli.people import inbox

ITEM: dict[str, Any] = {
    "run": "r-0001",
    "kind": "landing",
    "since": "2026-11-22T10:00:00.000Z",
    "choices": [],
    "call": None,
    "command": "pancode approve --with-commands r-0001",
}


def test_long_words_are_wrapped_and_none_is_left_out() -> None:
    words = [f"path/{number:03}/file.sh:" for number in range(60)]
    shown = inbox._item({**ITEM, "words": " ".join(words)})
    assert [word for word in shown.split() if word in words] == words
    assert max(map(len, shown.splitlines()[:-1])) <= 100
    assert "pancode approve --with-commands r-0001" in shown


def test_short_words_stand_in_the_line_of_their_run() -> None:
    (first, _) = inbox._item({**ITEM, "words": "Which port?"}).splitlines()
    assert first.startswith("r-0001  landing") and first.endswith("Which port?")


def test_a_run_that_has_not_begun_is_shown_with_its_plan() -> None:
    plan: dict[str, Any] = {
        "task": "add\n\x1b[31m it",
        "mode": "build",
        "safety": "auto-edit",
        "node": None,
        "lands": True,
    }
    plan |= {"verify": ["pytest -q"], "limit_usd": "2", "estimate_usd": "0.75", "estimate_tokens": 200_000}
    shown = inbox._item(
        {**ITEM, "words": "asks", "kind": "budget", "plan": {**plan, "estimate_minutes": 10.0}}
    )
    assert "task: add" in shown and "\x1b" not in shown
    assert "node any, gates: pytest -q, then landed" in shown
    assert "estimate $0.75, 200000 tokens, 10.0 min, at most $2" in shown
