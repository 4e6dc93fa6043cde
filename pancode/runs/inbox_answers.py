"""The inbox: all items that wait for a user, in the form that all interfaces use."""

from __future__ import annotations

from pancode.kernel.records import Action, ActionKind, Run
from pancode.runs.answers import InboxShape
from pancode.runs.core import Core
from pancode.runs.life.inbox import InboxItem, item_of
from pancode.runs.views import format_optional_iso


def list_inbox(core: Core) -> list[InboxShape]:
    """Return all inbox items that wait for a user, oldest first."""
    with core.ports.ledger.transaction() as tx:
        waiting = [action for action in tx.find(Action) if action.kind is ActionKind.USER]
        found = [(tx.get(Run, action.run), action) for action in waiting]
        others = [item for find in core.extensions.items for item in find(tx)]
    inbox = [item_of(run, action) for run, action in found if run is not None]
    items = sorted([*inbox, *others], key=lambda item: (item.since_ms, item.id))
    return [inbox_shape(item) for item in items]


def inbox_shape(item: InboxItem) -> InboxShape:
    return {
        "id": item.id,
        "run": item.run,
        "since": format_optional_iso(item.since_ms) or "",
        "kind": item.kind.value,
        "words": item.words,
        "choices": list(item.choices),
        "command": item.command,
        "yes": list(item.flags),
        "plan": None if item.plan is None else dict(item.plan),
        "call": item.call,
        "whole": item.whole,
        "title": item.title,
    }
