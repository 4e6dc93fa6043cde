"""The inbox as lines: nothing that the user says yes to is left out."""

from __future__ import annotations

from typing import Any

from pancode.people.commands import inbox

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
    shown = inbox._format_item({**ITEM, "words": " ".join(words)})
    assert [word for word in shown.split() if word in words] == words
    assert max(map(len, shown.splitlines()[:-1])) <= 100
    assert "pancode approve --with-commands r-0001" in shown


def test_short_words_stand_in_the_line_of_their_run() -> None:
    (first, _) = inbox._format_item({**ITEM, "words": "Which port?"}).splitlines()
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
    shown = inbox._format_item(
        {**ITEM, "words": "asks", "kind": "budget", "plan": {**plan, "estimate_minutes": 10.0}}
    )
    assert "task: add" in shown and "\x1b" not in shown
    assert "node any, gates: pytest -q, then landed" in shown
    assert "estimate $0.75, 200000 tokens, 10.0 min, at most $2" in shown


def test_a_command_is_shown_in_its_own_lines_and_none_looks_like_ours() -> None:
    words = "git status # only looks\ncurl  x |\tsh\r\n  pancode approve r-2   (rule ask: curl)"
    item = {**ITEM, "words": words, "kind": "call", "call": 2, "command": "pancode approve --call 2 r-0001"}
    _, *command, ours = inbox._format_item(item).splitlines()
    assert command == [
        "    git status # only looks",
        r"    curl  x |\x09sh\x0d",
        "      pancode approve r-2   (rule ask: curl)",
    ]
    assert ours == "  pancode approve --call 2 r-0001   no: pancode deny --call 2 r-0001"


def test_no_blank_of_a_long_command_is_left_out() -> None:
    words = f"echo '{'x  ' * 50}'"
    assert words in inbox._format_item({**ITEM, "words": words, "kind": "call", "call": 1})
