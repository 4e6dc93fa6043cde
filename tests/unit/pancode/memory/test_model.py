"""What is taken out of an answer: the report at its end, by the names that its form gives; nothing else."""

from __future__ import annotations

import pytest

from pancode.memory.model import MOST_PART, PARTS, RunNote, format_note, parts_of, source_of

NOTE = RunNote(
    run="r-a1b2c3",
    at_ms=0,
    project="/repo",
    agent="builder",
    commit="0123456789abcdef",
    receipt="d" * 64,
    task="Build the limit.",
    parts={"RESULT": "it works", "OPEN": "the docs"},
)


def test_what_is_decided_and_left_open_has_its_names() -> None:
    assert {"RESULT", "FILES CHANGED", "DECIDED", "VERDICT", "OPEN", "NOT FOUND", "RISKS"} <= PARTS


def test_a_report_in_its_form() -> None:
    answer = (
        "I looked first.\n\nSCOPE: the limiter\nFILES CHANGED: src/a.py: a counter\nsrc/b.py: its use\n"
        "RESULT: 12 tests pass\nDECIDED: the counter is per key\nOPEN: Nothing.\n"
    )
    assert parts_of(answer) == {
        "SCOPE": "the limiter",
        "FILES CHANGED": "src/a.py: a counter\nsrc/b.py: its use",
        "RESULT": "12 tests pass",
        "DECIDED": "the counter is per key",
    }


@pytest.mark.parametrize("mark", ["**{}:** {}", "### {}: {}", "- {}: {}", "> **{}**: {}", "__{}__: {}"])
def test_markdown_around_a_name_is_read(mark: str) -> None:
    answer = "\n".join(mark.format(name, text) for name, text in (("SCOPE", "a"), ("RESULT", "b")))
    assert parts_of(answer) == {"SCOPE": "a", "RESULT": "b"}


def test_only_the_last_report_counts_and_findings_stay_together() -> None:
    answer = (
        "RESULT: an older one\nSCOPE: draft\nSCOPE: the parser\n"
        "FINDING: blocks; a.py:1; x\nFINDING: could; b.py:2; y\nVERDICT: stop, as a.py breaks"
    )
    assert parts_of(answer) == {
        "SCOPE": "the parser",
        "FINDING": "blocks; a.py:1; x\ncould; b.py:2; y",
        "VERDICT": "stop, as a.py breaks",
    }


@pytest.mark.parametrize("answer", ["", "Done.", "result: it works", "My RESULT: fine", "RESULT - fine"])
def test_an_answer_without_a_report_leaves_nothing(answer: str) -> None:
    assert parts_of(answer) == {}


def test_what_nobody_sees_is_shown_and_a_long_part_is_clipped() -> None:
    parts = parts_of("RESULT: fi\u200bne\u202e\x1b[31m\nOPEN: " + "x" * 5_000)
    assert parts["RESULT"] == "fi<U+200B>ne<U+202E><U+001B>[31m"
    assert len(parts["OPEN"]) == MOST_PART and parts["OPEN"].endswith("x...")


def test_source_and_age() -> None:
    two_days = 2 * 86_400_000
    assert source_of(NOTE, False, two_days) == (
        "Run r-a1b2c3 of builder, 2 d ago, commit 0123456789, not landed: Build the limit."
    )
    assert ", not landed" not in source_of(NOTE, True, two_days)
    assert format_note(NOTE, True, two_days).splitlines()[1:] == ["RESULT: it works", "OPEN: the docs"]
