"""Routes of reviews: comments on a run's change, and the message that sends them back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pancode.interfaces.http.access.rights import DISPATCHES, TELLS
from pancode.interfaces.http.access.run_rights import refuse_act
from pancode.interfaces.http.bodies import ActBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.reviews.answers import (
    CHANGE_COMMENT,
    COMMENT,
    COMMENTS,
    SEND_BACK,
    CommentsAnswer,
    CommentShape,
)
from pancode.reviews.service import add_comment, change_comment, list_comments, send_back
from pancode.runs.answers import QueuedAnswer
from pancode.runs.dispatch import describe_queued
from pancode.runs.routes.runs import may_land_after
from pancode.runs.views import get_run

Words = Annotated[str, Field(max_length=10_000)]
LineNumber = Annotated[int, Field(ge=0, le=10**9)]


class CommentBody(ActBody):
    """A comment. `file` empty: on the whole change; `line` 0: on the whole file; `last`: the last line of a
    range; `side`: new, or old for removed lines."""

    file: Annotated[str, Field(max_length=4096)] = ""
    line: LineNumber = 0
    last: LineNumber = 0
    side: Literal["new", "old"] = "new"
    words: Annotated[Words, Field(min_length=1)]


class ChangeCommentBody(ActBody):
    """New words (empty: remove it), and whether it is ticked off; null: as before."""

    words: Words | None = None
    closed: bool | None = None


class SendBackBody(ActBody):
    """Words before the comments."""

    text: Words = ""


@Verb(COMMENTS, command="runs comments")
def _list(context: ApiContext, call: ApiCall) -> CommentsAnswer:
    """List the comments on a run's change, and the answers to those of the round before."""
    return list_comments(context.core, call.path["run"])


@Verb(COMMENT, CommentBody, "runs comment", status=201, right=TELLS)
def _add(context: ApiContext, call: ApiCall[CommentBody]) -> CommentShape:
    """Comment on a line, a range, a file or the whole of a run's change."""
    body = call.body
    place = (body.file, body.line, body.last, body.side)
    return add_comment(context.core, call.path["run"], *place, body.words, body.by)


@Verb(CHANGE_COMMENT, ChangeCommentBody, "runs comments", right=TELLS)
def _change(context: ApiContext, call: ApiCall[ChangeCommentBody]) -> CommentsAnswer:
    """Change, remove or tick off a comment."""
    body = call.body
    return change_comment(context.core, call.path["comment"], body.words, body.closed, body.by)


@Verb(
    SEND_BACK,
    SendBackBody,
    "runs send-back",
    pokes=True,
    status=201,
    right=DISPATCHES,
    lands=may_land_after,
)
def _send_back(context: ApiContext, call: ApiCall[SendBackBody]) -> QueuedAnswer:
    """Start the next round of a review: send the comments to the agent, which continues from its result."""
    body = call.body
    core, around = context.core, context.coordinator.around({})
    run = get_run(core, call.path["run"])
    if call.inside is not None:
        refuse_act(core, call.inside, f"sending back {run.id}")
    done, _ = send_back(core, around, run, body.text, body.by)
    return describe_queued(done)
