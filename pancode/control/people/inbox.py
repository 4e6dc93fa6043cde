"""What waits for a person, as the API shows it."""

from __future__ import annotations

from pancode.control.query.run import iso
from pancode.control.query.shapes import InboxShape
from pancode.domain.people.inbox import InboxItem


def inbox_shape(item: InboxItem) -> InboxShape:
    return {
        "id": item.id,
        "run": item.run,
        "since": iso(item.since_ms) or "",
        "kind": item.kind.value,
        "words": item.words,
        "choices": list(item.choices),
        "command": item.command,
        "yes": list(item.yes),
        "plan": None if item.plan is None else dict(item.plan),
    }
