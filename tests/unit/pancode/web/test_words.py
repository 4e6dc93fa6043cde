"""The console names the characters that the terminal names: what is not seen, or turns the reading."""

from __future__ import annotations

import re

from pancode import plain
from tests.architecture.sources import ROOT

WORDS = ROOT / "pancode/web/static/lib/words.js"


def test_the_console_names_what_the_terminal_names() -> None:
    (table,) = re.findall(r"^const HIDDEN = /\(\?!\\t\)\[(.*)\]/gu;$", WORDS.read_text(), flags=re.MULTILINE)
    categories = re.findall(r"\\p\{(\w+)\}", table)
    ranges = re.findall(r"\\u\{(\w+)\}(?:-\\u\{(\w+)\})?", table)
    blank = {chr(code) for low, high in ranges for code in range(int(low, 16), int(high or low, 16) + 1)}
    assert tuple(categories) == plain.HIDING
    assert blank == plain.BLANK
    for char in "\u061c\u00ad\U000e0041\u202e\u2066\u200b":
        assert plain.unhidden(char) == f"<U+{ord(char):04X}>"


def test_lines_of_a_log_take_away_no_sign_that_turns_the_reading() -> None:
    """They are named by the same table, and are in no list of what is taken away."""
    lines = (WORDS.parent / "lines.js").read_text()
    assert "202a" not in lines and "2066" not in lines
    assert lines.count("visibleLines(") == 3
