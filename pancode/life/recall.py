"""Decides which notes of earlier runs fit some words, and which of them a new run has room for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from pancode.core.records import RunNote

_WORD = re.compile(r"\w{2,}")
_STEM = 4
"""A word that begins with a searched word of so many letters counts for half of it."""


def ranked(notes: Sequence[RunNote], query: str) -> list[RunNote]:
    """The notes that share a word with the query: who shares rare ones first, then the newer one."""
    texts = [_words(_text(note)) for note in notes]
    common = Counter(word for words in texts for word in words)
    wanted = _words(query)
    scored = [
        (_score(wanted, words, common, len(notes)), note) for words, note in zip(texts, notes, strict=True)
    ]
    fit = [(score, note) for score, note in scored if score > 0]
    return [note for _, note in sorted(fit, key=lambda pair: (-pair[0], -pair[1].at_ms, pair[1].run))]


def in_use(notes: Sequence[RunNote], task: str) -> list[RunNote]:
    """The order in which notes are given to a new run: those that fit its task, then the newest."""
    fit = ranked(notes, task)
    rest = sorted(set(notes) - set(fit), key=lambda note: (-note.at_ms, note.run))
    return [*fit, *rest]


def _score(wanted: set[str], words: set[str], common: Counter[str], many: int) -> float:
    total = 0.0
    for word in wanted:
        if word in words:
            total += math.log(1 + many / common[word])
        elif len(word) >= _STEM and any(one.startswith(word) for one in words):
            total += math.log(2) / 2
    return total


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _text(note: RunNote) -> str:
    return "\n".join((note.run, note.agent, note.task, note.commit or "", *note.parts.values()))
