"""Which agents a task names as those who are to do it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

POLITE = (
    r"(?:please|kindly|now|then|first|finally|let us|let's|can you|could you|would you|will you|you should|"
    r"i want you to|i need you to|i'd like you to|we need to|help me(?: to)?)"
)
_HEAD = 4_000
"""So much of a task is read for a name: what comes later is material."""
_CLAUSE = rf"(?:[.;:,\n]\s*|\b(?:and|then)\s+)(?:{POLITE}[\s,:]+)*"
_BEGIN = rf"\A\s*(?:{POLITE}[\s,:]+)*"
_GIVES = r"(?:use|dispatch|send|(?:delegate|assign|give|hand)(?:\s+(?:this|it))?(?:\s+over)?\s+to)"
_ASKS = r"(?:have|let|ask|tell)"
_TO = r"(?=\s+(?:again\s+)?(?:to|for|on|as|in|with|against|and|then|first)\b|\s*[,;.:!]|\s*\Z)"
_NO_THING = (
    r"(?!\s+(?:class|module|file|function|method|pattern|package|page|test|component|service|table|folder|"
    r"interface|object|type|code|api|endpoint|library|script|command)(?:e?s)?\b)"
)
"""After the name of an agent such a noun says that the words are about a thing in the project."""


def named(calls: Mapping[str, str], task: str) -> dict[str, str]:
    """The agents to whom the words give the task, each with these words, in the order of the text.

    `calls`: the agent behind each name. Spaces, hyphens and the case of a name do not count.
    """
    if not calls:
        return {}
    head = task[:_HEAD]
    *first, listed = _patterns(tuple(sorted(calls, key=len, reverse=True)))
    agents = {_plain(call): agent for call, agent in calls.items()}
    hits = [hit for pattern in first for hit in pattern.finditer(head)]
    if hits:  # "use the reviewer for quality, red-team for security"
        hits += listed.finditer(head, min(hit.end() for hit in hits))
    found: dict[str, str] = {}
    for hit in sorted(hits, key=lambda hit: hit.start("words")):
        found.setdefault(agents[_plain(hit["name"])], hit["words"])
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]+", "-", name.lower())


@lru_cache(maxsize=16)
def _patterns(calls: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text, re.IGNORECASE) for text in _texts("|".join(map(_spelled, calls))))


def _spelled(call: str) -> str:
    return r"[-_\s]".join(map(re.escape, re.split(r"[-_]", call)))


def _texts(names: str) -> Iterator[str]:
    """The last one counts only after another."""
    name = rf"[\"'`“]?(?P<name>{names})(?![-\w/]|\.\w)[\"'`”]?"
    agent = rf"{name}(?:\s+agent\b)?{_NO_THING}"
    the = r"(?:the|our|my)\s+"
    yield rf"{_BEGIN}(?P<words>@{name})"
    yield rf"{_BEGIN}(?P<words>{name}(?=:(?!:)))"
    for where, article in ((_BEGIN, f"(?:{the})?"), (_CLAUSE, the)):
        yield rf"{where}(?P<words>{_GIVES}\s+{article}{agent}){_TO}"
        yield rf"{where}(?P<words>{_ASKS}\s+{article}{agent})"
    yield rf"\b(?P<words>(?:by|with|through|via)\s+{the}{name}\s+agent)\b"
    yield rf"(?:,|\band)\s+(?P<words>(?:{the})?{agent})(?=\s+(?:for|to)\b)"
