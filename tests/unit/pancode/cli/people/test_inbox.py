"""The inbox as lines: nothing that the person says yes to is left out."""

from __future__ import annotations

from typing import Any

from pancode.cli.people import inbox

ITEM: dict[str, Any] = {
    "run": "r-0001",
    "kind": "landing",
    "since": "2026-11-22T10:00:00.000Z",
    "choices": [],
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
