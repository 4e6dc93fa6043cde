"""The terms of a session in an interface: their text, the choices that keys offer, and their change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pancode.conversation.answers import TERMS, SessionShape
from pancode.interfaces.cli.parameters import find_user
from pancode.interfaces.cli.terminal import escape_line
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.retry import post_confirmed

TURNS, ADMIN = ("plan", "build", "review"), "admin"
"""The modes that Shift-Tab cycles through. Admin is not among them, so that it is not chosen by accident."""
LEVELS = ("suggest", "auto-edit", "full-auto")
"""The safety levels, from lowest to highest."""

Terms = Mapping[str, str]
"""The terms that can be chosen for a session, by name."""
STAYS = "memory and files stay"
MOVES = "files stay; the model is on another node, where the agent gets a summary instead of its memory"


def read_chosen(shape: Mapping[str, Any]) -> tuple[str, str]:
    """Return the mode and level that apply to the session's next message."""
    of_next = shape.get("next") or shape
    return str(of_next.get("mode", "")), str(of_next.get("safety", ""))


def format_terms(shape: Mapping[str, Any]) -> str:
    """Return one line with the terms that apply now and those that apply from the next message on."""
    terms = _list_terms(shape)
    if shape["next"] is None:
        return terms
    memory = shape["next"].get("memory", True)
    return f"{terms}; with your next message: {_list_terms(shape['next'])} ({STAYS if memory else MOVES})"


def _list_terms(terms: Mapping[str, Any]) -> str:
    """Return the mode and level as text, and those other terms that are set."""
    named = {"model": "model", "reasoning": "effort", "program_mode": "its program's mode"}
    more = (f", {word} {escape_line(str(terms[name]))}" for name, word in named.items() if terms.get(name))
    return f"mode {terms['mode']}, safety {terms['safety']}{''.join(more)}"


def next_mode(mode: str) -> str:
    """Return the mode that Shift-Tab selects after this one; plan, the least permissive, follows admin."""
    return TURNS[(TURNS.index(mode) + 1) % len(TURNS)] if mode in TURNS else TURNS[0]


def next_level(safety: str) -> str:
    """Return the next higher level; after the highest comes the lowest."""
    return LEVELS[(LEVELS.index(safety) + 1) % len(LEVELS)] if safety in LEVELS else LEVELS[0]


def is_raise(before: str, after: str) -> bool:
    """Whether the level `after` is higher than `before`; an unknown level counts as the lowest."""
    return after in LEVELS and LEVELS.index(after) > (LEVELS.index(before) if before in LEVELS else 0)


def set_terms(
    client: Client, run: str, terms: Mapping[str, Any], agreed: Callable[[str], bool] = lambda question: False
) -> SessionShape:
    """Change the terms, after the user agrees to a higher level. ApiError if the change is refused.

    `terms`: the route's fields; those that are None or False are left out.
    """
    named = {name: value for name, value in terms.items() if value is not None and value is not False}
    return post_confirmed(client, TERMS.at(run), {"by": find_user(), **named}, agreed)
