"""Shapes of inbox items and users' answers, as the API returns them."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import BriefLine, InboxShape, QueuedAnswer, RunShape


class ToldAnswer(TypedDict):
    """The state of a message. `delivered`: how it reached the run; null: not yet. `sent`: in transit."""

    run: str
    state: str
    delivered: str | None
    sent: bool


class InboxAnswer(TypedDict):
    """The inbox. `also`: what waits besides questions; `by` has no effect."""

    items: list[InboxShape]
    also: list[BriefLine]


CONTINUE = Route[QueuedAnswer]("POST /v1/runs/{run}/continue")
ANSWER = Route[QueuedAnswer]("POST /v1/runs/{run}/answer")
DENY = Route[RunShape]("POST /v1/runs/{run}/deny")
TELL = Route[ToldAnswer]("POST /v1/runs/{run}/tell")
INBOX = Route[InboxAnswer]("GET /v1/inbox")
