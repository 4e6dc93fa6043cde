"""Takes out of a run's answer what it decided, did and left open, and puts it into words for later runs."""

from __future__ import annotations

import re

from pancode.agents.agents import Role
from pancode.agents.prompts import report_names
from pancode.core.records import RunNote
from pancode.plain import took, unhidden

PARTS = frozenset(name for role in Role for name in report_names(role))
"""The names in the forms of all reports."""
FIRST = ("SCOPE", "REPORT")
"""With these a report begins."""
MOST_PART, MOST_TASK = 700, 200
_NAMED = re.compile(
    rf"^[ \t>#*_-]*({'|'.join(sorted(PARTS, key=len, reverse=True))})[ \t]*[*_]*:[ \t]*[*_]*(.*)$"
)
_NOTHING = {"", "-", "none", "nothing", "n/a"}


def parts_of(answer: str) -> dict[str, str]:
    """The parts of the report at the end of an answer, by name; empty: it has none, so nothing is kept.

    Each is clipped, and what a reader would not see is shown.
    """
    found: list[tuple[str, list[str]]] = []
    for line in answer.splitlines():
        named = _NAMED.match(line)
        if named is not None and named[1] in FIRST:
            found = []  # what stood before was no report, or an older one
        if named is not None:
            found.append((named[1], [named[2]]))
        elif found:
            found[-1][1].append(line)
    parts: dict[str, str] = {}
    for name, lines in found:
        text = unhidden("\n".join(lines)).strip()
        if text.lower().rstrip(".") not in _NOTHING:
            parts[name] = f"{parts[name]}\n{text}" if name in parts else text
    return {name: clipped(text, MOST_PART) for name, text in parts.items()}


def clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."


def source_of(note: RunNote, landed: bool, now_ms: int) -> str:
    """Where a note comes from and how old it is, in one line."""
    commit = f", commit {note.commit[:10]}" if note.commit else ""
    left = "" if landed or not note.commit else ", not landed"
    age = took(max(0, now_ms - note.at_ms) / 1000)
    return f"Run {note.run} of {note.agent}, {age} ago{commit}{left}: {note.task}"


def material(note: RunNote, landed: bool, now_ms: int) -> str:
    """The note as a later run is given it."""
    return "\n".join(
        (source_of(note, landed, now_ms), *(f"{name}: {text}" for name, text in note.parts.items()))
    )
