"""The terms of a session at a face: in words, the next ones in turn, and their change by a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pancode.interfaces.cli.output import find_user
from pancode.interfaces.cli.terminal import escape_line
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.retry import post_confirmed
from pancode.sessions.answers import TERMS, SessionShape

TURNS, ADMIN = ("plan", "build", "review"), "admin"
"""The modes that Shift-Tab goes through. Admin is apart, so that nobody gets there by chance."""
LEVELS = ("suggest", "auto-edit", "full-auto")
"""The safety levels, from the lowest to the highest."""

STAYS = "memory and files stay"
MOVES = "files stay; its model is on another node, where it is told the story of before instead of its memory"


def read_chosen(shape: Mapping[str, Any]) -> tuple[str, str]:
    """The mode and level with which the session's next words begin."""
    of_next = shape.get("next") or shape
    return str(of_next.get("mode", "")), str(of_next.get("safety", ""))


def terms_told(shape: Mapping[str, Any]) -> str:
    """One line: what holds now, and what holds from the next message on."""
    terms = _listed(shape)
    if shape["next"] is None:
        return terms
    memory = shape["next"].get("memory", True)
    return f"{terms}; with your next message: {_listed(shape['next'])} ({STAYS if memory else MOVES})"


def _listed(terms: Mapping[str, Any]) -> str:
    """Return mode and level in words, and the other terms where they are set."""
    named = {"model": "model", "reasoning": "effort", "program_mode": "its program's mode"}
    more = (f", {word} {escape_line(str(terms[name]))}" for name, word in named.items() if terms.get(name))
    return f"mode {terms['mode']}, safety {terms['safety']}{''.join(more)}"


def next_mode(mode: str) -> str:
    """The mode behind this one, for Shift-Tab. From admin it goes to plan, which may do the least."""
    return TURNS[(TURNS.index(mode) + 1) % len(TURNS)] if mode in TURNS else TURNS[0]


def next_level(safety: str) -> str:
    """The level above this one; above the highest comes the lowest."""
    return LEVELS[(LEVELS.index(safety) + 1) % len(LEVELS)] if safety in LEVELS else LEVELS[0]


def is_raise(before: str, after: str) -> bool:
    """Whether a chosen level is above the one of before; one that is not known counts as the lowest."""
    return after in LEVELS and LEVELS.index(after) > (LEVELS.index(before) if before in LEVELS else 0)


def set_terms(
    client: Client, run: str, terms: Mapping[str, Any], agreed: Callable[[str], bool] = lambda question: False
) -> SessionShape:
    """Change them, once the user has agreed to a higher level. ApiError for what is refused.

    `terms`: the fields of that route; None and False: left out.
    """
    named = {name: value for name, value in terms.items() if value is not None and value is not False}
    return post_confirmed(client, TERMS.at(run), {"by": find_user(), **named}, agreed)
