"""What waits for a user, and what users say, as the API shows it."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import BriefLine, InboxShape, QueuedAnswer, RunShape


class ToldAnswer(TypedDict):
    """`delivered`: how the words reached the run; null: not yet. `sent`: they are on their way to it."""

    run: str
    state: str
    delivered: str | None
    sent: bool


class InboxAnswer(TypedDict):
    """`also`: what waits for a user beside the questions; `by` says whose last look counts there."""

    items: list[InboxShape]
    also: list[BriefLine]


CONTINUE = Route[QueuedAnswer]("POST /v1/runs/{run}/continue")
ANSWER = Route[QueuedAnswer]("POST /v1/runs/{run}/answer")
DENY = Route[RunShape]("POST /v1/runs/{run}/deny")
TELL = Route[ToldAnswer]("POST /v1/runs/{run}/tell")
INBOX = Route[InboxAnswer]("GET /v1/inbox")
