"""Notes of runs: their parts, their form in prompts, and which of them a new run gets."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from pancode.agents.agents import Role
from pancode.agents.prompts import report_names
from pancode.kernel.formatting import format_seconds, reveal_invisible
from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class RunNote(Record):
    """A note on what a run in a repository or lane decided, did and left open, from its accepted receipt."""

    TABLE: ClassVar = Table("notes", ("run",), ("project,at_ms", "at_ms"))
    run: str
    at_ms: int
    project: str
    """Absolute path of the user's repository; empty: there is none."""
    agent: str
    commit: str | None
    """The commit of the run's result; None: it changed nothing."""
    receipt: str
    """The receipt's digest; empty: unknown."""
    task: str
    """The run's task, shortened."""
    parts: dict[str, str] = field(default_factory=dict, hash=False)
    """The parts of the run's report, by their names in the report form."""


_WORD = re.compile(r"\w{2,}")
_STEM = 4
"""A searched word of at least this many letters scores half for a word that begins with it."""


def rank_notes(notes: Sequence[RunNote], query: str) -> list[RunNote]:
    """Return the notes that share a word with the query, first those with rare words, then newer notes."""
    texts = [_split_words(_text(note)) for note in notes]
    common = Counter(word for words in texts for word in words)
    wanted = _split_words(query)
    scored = [
        (_score(wanted, words, common, len(notes)), note) for words, note in zip(texts, notes, strict=True)
    ]
    fit = [(score, note) for score, note in scored if score > 0]
    return [note for _, note in sorted(fit, key=lambda pair: (-pair[0], -pair[1].at_ms, pair[1].run))]


class Nearness(StrEnum):
    """How a note is related to a new run; notes of closer relations come first."""

    LANE = "in this lane"
    WORKSPACE = "in this workspace"


NOWHERE: Mapping[str, Nearness] = {}


def in_use(notes: Sequence[RunNote], task: str, near: Mapping[str, Nearness] = NOWHERE) -> list[RunNote]:
    """Return the notes in the order for a new run: of its lane, of its workspace, fitting its task, the rest.
    Those of a lane or a workspace come newest first. `near`: the note's relation to the new run, by run."""
    newest = sorted(notes, key=lambda note: (-note.at_ms, note.run))
    lines = [note for line in Nearness for note in newest if near.get(note.run) is line]
    others = [note for note in newest if note.run not in near]
    fit = rank_notes(others, task)
    runs = {note.run for note in fit}
    return [*lines, *fit, *(note for note in others if note.run not in runs)]


def _score(wanted: set[str], words: set[str], common: Counter[str], many: int) -> float:
    total = 0.0
    for word in wanted:
        if word in words:
            total += math.log(1 + many / common[word])
        elif len(word) >= _STEM and any(one.startswith(word) for one in words):
            total += math.log(2) / 2
    return total


def _split_words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _text(note: RunNote) -> str:
    return "\n".join((note.run, note.agent, note.task, note.commit or "", *note.parts.values()))


PARTS = frozenset(name for role in Role for name in report_names(role))
"""The names of the parts of reports, old and new forms included."""
FIRST = ("SCOPE", "REPORT")
"""The names of parts with which a report can begin."""
MOST_PART, MOST_TASK, MOST_LEFT = 700, 200, 2_000
"""The most characters of a part, of a task, and of an answer without a report, that a note can have."""
BRIEFLY = ("DECIDED", "OPEN")
_NAMED = re.compile(
    rf"^[ \t>#*_-]*({'|'.join(sorted(PARTS, key=len, reverse=True))})[ \t]*[*_]*:[ \t]*[*_]*(.*)$"
)
_NOTHING = {"", "-", "none", "nothing", "n/a"}


def parts_of(answer: str) -> dict[str, str]:
    """Return the parts of the report at the end of an answer, by name; empty: the answer has no report. Each
    part is clipped, and invisible characters are made visible."""
    found: list[tuple[str, list[str]]] = []
    for line in answer.splitlines():
        named = _NAMED.match(line)
        if named is not None and named[1] in FIRST:
            found = []  # The text before this line is not part of the report, or is an older report.
        if named is not None:
            found.append((named[1], [named[2]]))
        elif found:
            found[-1][1].append(line)
    parts: dict[str, str] = {}
    for name, lines in found:
        text = reveal_invisible("\n".join(lines)).strip()
        if text.lower().rstrip(".") not in _NOTHING:
            parts[name] = f"{parts[name]}\n{text}" if name in parts else text
    return {name: limit_text(text, MOST_PART) for name, text in parts.items()}


def limit_text(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."


def left_by(answer: str, most: int) -> dict[str, str]:
    """Return the end of an answer without a report, at most `most` characters, as the only part of a note."""
    text = reveal_invisible(answer.strip())
    return {"REPORT": text if len(text) <= most else f"...{text[3 - most :].lstrip()}"} if text else {}


def source_of(note: RunNote, landed: bool, now_ms: int, near: Nearness | None = None) -> str:
    """Return the source and age of a note in one line."""
    commit = f", commit {note.commit[:10]}" if note.commit else ""
    left = "" if landed or not note.commit else ", not landed"
    age = format_seconds(max(0, now_ms - note.at_ms) / 1000)
    line = f" {near}," if near is not None else ""
    return f"Run {note.run} of {note.agent},{line} {age} ago{commit}{left}: {note.task}"


def format_note(
    note: RunNote, landed: bool, now_ms: int, near: Nearness | None = None, brief: bool = False
) -> str:
    """Return the note as the text for a later run. `brief`: only decisions and open points, if any."""
    parts = {name: text for name, text in note.parts.items() if name in BRIEFLY} if brief else {}
    lines = (f"{name}: {text}" for name, text in (parts or note.parts).items())
    return "\n".join((source_of(note, landed, now_ms, near), *lines))
