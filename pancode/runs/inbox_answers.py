"""Inbox items in the form that all interfaces use."""

from __future__ import annotations

from pancode.runs.answers import InboxShape
from pancode.runs.life.inbox import InboxItem
from pancode.runs.views import format_optional_iso


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
