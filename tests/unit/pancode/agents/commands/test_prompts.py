"""What `pancode agents prompt` prints: the parts, and what was left out."""

from __future__ import annotations

from typing import Any

from pancode.agents.commands.agents import in_parts

ANSWER: Any = {
    "agent": "builder",
    "mode": "build",
    "safety": "auto-edit",
    "runtime": "native",
    "window": 8192,
    "digest": "ab12",
    "tokens": {"system": 600, "task": 5},
    "left_out": ["2 notes of earlier runs"],
    "pieces": [{"category": "identity", "text": "You are\x1b[31m a builder."}],
}


def test_parts_and_what_was_left_out() -> None:
    assert in_parts(ANSWER) == (
        "builder in mode build at auto-edit for native, for a window of 8192 tokens\n"
        "digest ab12\ntokens (estimate): system 600, task 5\nleft out: 2 notes of earlier runs\n\n"
        "--- identity\nYou are\\x1b[31m a builder.\n"
    )


def test_a_window_that_nobody_knows_is_not_named() -> None:
    head = in_parts(ANSWER | {"window": None, "left_out": []}).splitlines()[:4]
    assert head == [
        "builder in mode build at auto-edit for native",
        "digest ab12",
        "tokens (estimate): system 600, task 5",
        "",
    ]
