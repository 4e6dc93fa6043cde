"""What waits for a person, as every face tells it."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from pancode.runs.life.inbox import InboxItem
from pancode.runs.views import iso


class BriefLine(TypedDict):
    """One thing to tell, and the command that goes on with it."""

    run: str | None
    what: str
    task: str
    command: str
    outcome: NotRequired[str]
    """The outcome of a run that waits for a person."""


class InboxShape(TypedDict):
    """One thing that waits for a person; `kind` as in `ItemKind`; `command` answers it.

    `yes`: the flags that its approval must carry. `plan`: of a run that has not begun: what it is to do, the
    estimate, the `objections` of gates that a yes lifts, and the `digest` that a yes names. `call`: the
    number of the call that waits. `whole`: what a yes for the rest of the run allows, where that is a rule.
    """

    id: str
    run: str
    since: str
    kind: str
    words: str
    choices: list[str]
    command: str
    yes: list[str]
    call: int | None
    whole: str
    plan: dict[str, Any] | None


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
        "call": item.call,
        "whole": item.whole,
    }
