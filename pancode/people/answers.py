"""What waits for a user, and what users answer, in the form of the API."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import BriefLine, InboxShape, QueuedAnswer, RunShape


class ToldAnswer(TypedDict):
    """`delivered`: how the message reached the run; null: not yet. `sent`: it is in transit to the run."""

    run: str
    state: str
    delivered: str | None
    sent: bool


class InboxAnswer(TypedDict):
    """`also`: what else waits for a user, besides questions; `by` names the user whose last visit counts."""

    items: list[InboxShape]
    also: list[BriefLine]


CONTINUE = Route[QueuedAnswer]("POST /v1/runs/{run}/continue")
ANSWER = Route[QueuedAnswer]("POST /v1/runs/{run}/answer")
DENY = Route[RunShape]("POST /v1/runs/{run}/deny")
TELL = Route[ToldAnswer]("POST /v1/runs/{run}/tell")
INBOX = Route[InboxAnswer]("GET /v1/inbox")
