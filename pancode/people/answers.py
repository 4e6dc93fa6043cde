"""Answers of the API to what users decide and tell agents."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import QueuedAnswer, RunShape


class ToldAnswer(TypedDict):
    """The state of a message. `delivered`: how it reached the run; null: not yet. `sent`: in transit."""

    run: str
    state: str
    delivered: str | None
    sent: bool


ANSWER = Route[QueuedAnswer]("POST /v1/runs/{run}/answer")
DENY = Route[RunShape]("POST /v1/runs/{run}/deny")
TELL = Route[ToldAnswer]("POST /v1/runs/{run}/tell")
