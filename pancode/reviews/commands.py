"""`pancode runs comment`, `runs comments`, `runs send-back`: review a change in rounds."""

from __future__ import annotations

import re
from typing import Annotated

from pancode.interfaces.cli.follow import follow_new
from pancode.interfaces.cli.parameters import Argument, Detach, Json, Run, find_user, option, verb
from pancode.interfaces.cli.terminal import escape_line, safe_block
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.reviews.answers import CHANGE_COMMENT, COMMENT, COMMENTS, SEND_BACK, CommentsAnswer
from pancode.runs.commands.named_runs import find_run

_PLACE = re.compile(r"(.+?)(?::(\d{1,9})(?:-(\d{1,9}))?)?")


@verb(
    "runs comment",
    "last app.py:12 'use the constant'",
    "last app.py:3-9 'too long' --old",
    "last . 'add tests'",
)
def comment(
    run: Run,
    place: Annotated[str, Argument(help="FILE, FILE:LINE or FILE:FIRST-LAST; `.` for the whole change.")],
    words: Annotated[str, Argument(help="The comment.")],
    *,
    old: Annotated[bool, option("The lines are those before the change.", "--old")] = False,
    face: Json,
) -> None:
    """Comment on a run's change. The comment is kept until `pancode runs send-back` sends all of them."""
    found = _PLACE.fullmatch(place)
    if found is None:
        raise UsageError(f"{place[:200]!r} is not a place in a change", fix="write FILE:LINE")
    client = face.client()
    body = {"file": "" if place == "." else found[1], "line": int(found[2] or 0), "last": int(found[3] or 0)}
    route = COMMENT.at(find_run(client, run))
    one = client.post(route, {"by": find_user(), **body, "side": "old" if old else "new", "words": words})
    face.show(
        one,
        lambda: escape_line(f"{one.id}  {one.place}  kept; send it: pancode runs send-back {one.run}") + "\n",
    )


@verb("runs comments", "last", "last --close 2")
def comments(
    run: Run,
    *,
    close: Annotated[str | None, option("Tick off this comment: its number or id.", "N")] = None,
    remove: Annotated[str | None, option("Remove this comment, which was not sent.", "ID")] = None,
    face: Json,
) -> None:
    """List the comments on a run's change, and its answers to those of the round before."""
    client = face.client()
    answer = client.get(COMMENTS.at(find_run(client, run)))
    for word, change in ((close, {"closed": True}), (remove, {"words": ""})):
        if word is not None:
            answer = client.post(
                CHANGE_COMMENT.at(_find_comment(answer, word)), {"by": find_user(), **change}
            )
    face.show(answer, lambda: _format_comments(answer))


def _find_comment(answer: CommentsAnswer, word: str) -> str:
    for one in answer.comments:
        if word in (one.id, str(one.number) if one.sent_in == answer.run else ""):
            return one.id
    raise NotFoundError(f"comment {word[:40]!r} not found", fix=f"pancode runs comments {answer.run}")


def _format_comments(answer: CommentsAnswer) -> str:
    """Format the comments; each text is indented, so that it cannot imitate other lines."""
    if not answer.comments:
        return f"no comments; add one: pancode runs comment {answer.run} FILE:LINE WORDS\n"
    text = f"round {answer.round}\n"
    for one in answer.comments:
        state = one.answer or ("sent, no answer yet" if one.sent_in else "not sent")
        mark = "x" if one.closed else " "
        number = f"{one.number}. " if one.sent_in == answer.run else ""
        text += escape_line(f"[{mark}] {number}{one.place}  {one.by}  {one.id}  {state}") + "\n"
        text += "".join(f"      {line}\n" for line in safe_block(one.words).splitlines())
    return text


@verb("runs send-back", "last", "last 'only the two in app.py matter' --detach")
def send_back(
    run: Run,
    text: Annotated[str, Argument(help="Words before the comments.")] = "",
    *,
    detach: Detach = False,
    face: Json,
) -> int:
    """Start the next round: the agent gets the comments, and continues from its result."""
    return follow_new(
        face, SEND_BACK.at(find_run(face.client(), run)), {"by": find_user(), "text": text}, detach
    )
