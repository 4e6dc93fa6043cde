"""The answers of the API to reviews."""

from __future__ import annotations

from dataclasses import dataclass

from pancode.kernel.route import Route
from pancode.runs.answers import QueuedAnswer


@dataclass(frozen=True, slots=True)
class CommentShape:
    """A comment. `run`: whose change it is on. `file` empty: the whole change; `line` 0: the whole file.

    `side`: new or old. `quote`: its first line. `person`: a person wrote it, not a program with a token.
    `number` and `sent_in`: its number in the message of its round, and the run that got it; null: not sent.
    `answer`: what the agent reported about it. `closed`: a user has ticked it off.
    """

    id: str
    run: str
    place: str
    file: str
    line: int
    last: int
    side: str
    quote: str
    words: str
    by: str
    person: bool
    at: str
    number: int
    sent_in: str | None
    answer: str
    closed: bool


@dataclass(frozen=True, slots=True)
class CommentsAnswer:
    """The comments on a run's change, and those that it has answered. `before`: the run of the round before;
    null: this is the first one. `round`: the number of this round, from 1."""

    run: str
    round: int
    before: str | None
    comments: tuple[CommentShape, ...]


COMMENTS = Route[CommentsAnswer]("GET /v1/runs/{run}/comments")
COMMENT = Route[CommentShape]("POST /v1/runs/{run}/comments")
CHANGE_COMMENT = Route[CommentsAnswer]("POST /v1/comments/{comment}")
SEND_BACK = Route[QueuedAnswer]("POST /v1/runs/{run}/send-back")
