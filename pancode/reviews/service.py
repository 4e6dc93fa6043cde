"""Keeps comments on changes, sends them back to the agent as one message, and reads its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pancode.kernel.errors import ConflictError, NotFoundError, UsageError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import ApiToken, Run
from pancode.kernel.values import replace
from pancode.kernel.visitors import token_behind
from pancode.reviews.answers import CommentsAnswer, CommentShape
from pancode.reviews.model import ReviewComment
from pancode.reviews.rules import quote_line, read_answers, write_round
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched
from pancode.runs.facts import Lineage
from pancode.runs.messages import continue_from
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import find_run, format_iso
from pancode.runs.whole_changes import diff_change

MOST_COMMENTS, MOST_ROUNDS = 500, 100
"""The most comments on a run, and the most rounds that are counted."""


def list_comments(core: Core, text: str) -> CommentsAnswer:
    """Return the comments on a run's change, and those that the run was sent. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        mine = tx.find(ReviewComment, {"run": run.id})
        sent = tx.find(ReviewComment, {"sent_in": run.id})
        runs = {one.sent_in: tx.get(Run, one.sent_in) for one in (*mine, *sent) if one.sent_in}
        rounds = _list_rounds(tx, run)
    answers = {name: read_answers(str(of.result.get("answer") or "")) for name, of in runs.items() if of}
    ordered = sorted((*sent, *mine), key=lambda one: (one.run == run.id, one.file, one.line, one.at_ms))
    before = rounds[-1] if rounds else None
    shapes = tuple(_shape(one, answers) for one in ordered)
    return CommentsAnswer(run.id, len(rounds) + 1, before, shapes)


def _list_rounds(tx: Transaction, run: Run) -> list[str]:
    """Return the runs of the rounds before this one, the oldest first."""
    found: list[str] = []
    now: Run | None = run
    while now is not None and len(found) < MOST_ROUNDS:
        sent = tx.find(ReviewComment, {"sent_in": now.id}, limit=1)
        before = sent[0].run if sent else Lineage.of(now).continues
        now = tx.get(Run, before) if before and before not in found else None
        found = [now.id, *found] if now is not None else found
    return found


def _shape(one: ReviewComment, answers: Mapping[str, Mapping[int, str]]) -> CommentShape:
    answer = answers.get(one.sent_in, {}).get(one.number, "")
    return CommentShape(
        one.id, one.run, one.place, one.file, one.line, one.last, one.side, one.quote, one.words, one.by,
        one.is_person, format_iso(one.at_ms), one.number, one.sent_in or None, answer, one.is_closed,
    )  # fmt: skip


def add_comment(
    core: Core, text: str, file: str, line: int, last: int, side: str, words: str, by: str
) -> CommentShape:
    """Keep a comment. UsageError for a place that is not in the change; WorkspaceError without a change."""
    quote = quote_line(diff_change(core, text, False).decode("utf-8", "replace"), file, line, last, side)
    with unit_of_work(core) as work:
        run, is_person = _load_run_with_room(work.tx, text), _is_person(work.tx, by)
        one = ReviewComment(
            f"c-{core.ports.ids.token(8)}", run, file, line, max(line, last) if line else 0, side, quote,
            words.strip(), by, is_person, core.wall_ms(),
        )  # fmt: skip
        work.tx.put(one)
    return _shape(one, {})


def _load_run_with_room(tx: Transaction, text: str) -> str:
    """Return the run's id. UsageError if it has too many comments."""
    run = find_run(tx, text).id
    if len(tx.find(ReviewComment, {"run": run}, limit=MOST_COMMENTS)) >= MOST_COMMENTS:
        raise UsageError(f"{run} has {MOST_COMMENTS} comments", fix="send them back", code="bad_value")
    return run


def _is_person(tx: Transaction, by: str) -> bool:
    """Whether a person speaks: the owner, or a browser in which a person has signed in."""
    name = token_behind(by)
    token = None if name is None else tx.get(ApiToken, name)
    return name is None or (token is not None and token.agent is not None)


def change_comment(core: Core, name: str, words: str | None, closed: bool | None, by: str) -> CommentsAnswer:
    """Change a comment's words, remove it (empty words), or tick it off. Only a comment that was not sent is
    changed, by whoever wrote it. NotFoundError, ConflictError."""
    with unit_of_work(core) as work:
        new = _decide_change(work.tx, name, words, closed, by)
        if new.words:
            work.tx.put(new)
        else:
            work.tx.delete(ReviewComment, name)
    return list_comments(core, new.run)


def _decide_change(
    tx: Transaction, name: str, words: str | None, closed: bool | None, by: str
) -> ReviewComment:
    """Return the comment after the change; without words: it is to be removed."""
    one = tx.get(ReviewComment, name)
    if one is None:
        raise NotFoundError(f"comment {name[:80]} not found", fix="pancode runs comments RUN")
    if words is not None and (one.sent_in or one.by != by):
        why = f"it was sent in {one.sent_in}" if one.sent_in else f"it is {one.by}'s"
        fix = f"add another one: pancode runs comment {one.run}"
        raise ConflictError(f"comment {name} cannot be changed", why=why, fix=fix)
    new = one if words is None else replace(one, words=words.strip())
    return new if closed is None else replace(new, is_closed=closed)


def send_back(
    core: Core, around: Surroundings, run: Run, words: str, by: str | Run
) -> tuple[Dispatched, Sequence[ReviewComment]]:
    """Start the next round: send the comments that were not sent, and these words. UsageError if there are
    neither; the errors of a continuation."""
    open_, round_ = _load_open(core, run)
    if not open_ and not words.strip():
        fix = f"pancode runs comment {run.id} FILE:LINE WORDS, or give words"
        raise UsageError(f"nothing to send back about {run.id}", fix=fix, code="no_comments")
    ordered = sorted(open_, key=lambda one: (one.file, one.line, one.at_ms))
    numbered = [replace(one, number=number) for number, one in enumerate(ordered, start=1)]
    done = continue_from(core, around, run, write_round(round_, run.task, numbered, words), by)
    with unit_of_work(core) as work:
        for one in _list_there(work.tx, numbered):
            work.tx.put(replace(one, sent_in=done.run.id))
    return done, numbered


def _load_open(core: Core, run: Run) -> tuple[list[ReviewComment], int]:
    """Return the comments that were not sent, and the number of the round that they start."""
    with core.ports.ledger.transaction() as tx:
        open_ = [one for one in tx.find(ReviewComment, {"run": run.id}) if not one.sent_in]
        return open_, len(_list_rounds(tx, run)) + 2


def _list_there(tx: Transaction, sent: Sequence[ReviewComment]) -> list[ReviewComment]:
    """Return the comments with their numbers that are still there: somebody may have changed them while the
    message was sent."""
    rows = [(tx.get(ReviewComment, one.id), one.number) for one in sent]
    return [replace(row, number=number) for row, number in rows if row is not None]
