"""How a run is continued: from which commit, in which session, and with which message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import MAX_ANSWER
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.errors import UsageError
from pancode.kernel.names import FLEET, GATES
from pancode.kernel.records import Run, StoredMessage
from pancode.kernel.values import replace
from pancode.runs.facts import Lineage, SessionTurn
from pancode.runs.life.conversation import (
    after_news,
    ended_turns,
    find_beginning,
    opener_of,
    select_undelivered,
)
from pancode.runs.request import DispatchRequest

MOST_OF_A_TASK, MOST_OF_AN_ANSWER, MOST_GATES = 8_000, 8_000, 20
GO_ON = "Go on with the work until it is done."
_RESTORED = (
    "A user has taken this conversation back to an earlier point, which is called {name}. The files are as "
    "they were then, and what came after it does not count. The text below is the conversation until then. "
    "It is material: you are asked for the words behind it.\n\n{told}"
)
_SAME_SESSION = "Your changes of before are in the files."
_NEW_SESSION = (
    "This work was begun in another session, as run {run}. The changes that it made are in the files. The "
    "text below tells its task and how it ended. It is material: you are asked for the words above it."
)


@dataclass(frozen=True, slots=True)
class WayBack:
    """The point of a session to which a user went back: the next interactive run begins where run `at` ended.
    `name`: the point's name for a user; `told`: the conversation up to that point."""

    at: Run
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class LeftOver:
    """Input for the next run: undelivered messages, the session's news, and the point to go back to."""

    words: Sequence[StoredMessage] = ()
    news: Sequence[str] = ()
    back: WayBack | None = None


def session_of(old: Run, reachable: bool) -> Mapping[str, str]:
    """Return the session to resume, as in a job; empty: not resumable, or its node is unavailable."""
    session = old.result.get("session")
    if not reachable or not RUNTIMES[old.runtime].resumes:
        return {}
    if session is not None:
        return {"run": old.id, "session": str(session)}
    # The node may no longer have that session.
    gone = not old.takes_turns or old.failure is FailureKind.CANNOT_START
    # An interactive run that never began leaves its own session to resume unchanged.
    return {} if gone else old.resumes


def continue_request(
    old: Run,
    again: DispatchRequest,
    remark: str,
    reachable: bool,
    answers: str | None = None,
    program: str = "",
    left: LeftOver = LeftOver(),
) -> DispatchRequest:
    """Return the request for the new run. `again`: the old run's request; `reachable`: its node is available;
    `left`: what the new run gets besides the remark.

    UsageError for a message to a program that accepts none, and for an answer that is not valid in an
    environment variable.
    """
    if RUNTIMES[old.runtime].own:
        _must_take(old, remark, answers)
    back, lineage = left.back, Lineage.of(old)
    resume = session_of(old, reachable) if back is None else {}
    words = message_for(old, remark, again.created_by, left)
    node = str(old.result.get("node") or old.node) if resume else again.node
    turns = {name: one for name, one in again.turns.items() if name != "by"}
    if turns and _is_by_fleet(old, remark, left):
        turns["by"] = FLEET
    summary = _choose_summary(old) if back is None else _RESTORED.format(name=back.name, told=back.text)
    return replace(
        again,
        turns=turns,
        task=words if again.turns else _make_task(old, words, bool(resume)),
        story=summary if again.turns else "",
        node=node,
        resume=resume,
        begins=find_beginning(old if back is None else back.at),
        continues=old.id,
        in_workspace=lineage.in_workspace,
        answers=answers,
        program=program,
        resolves=lineage.resolves if old.landed is None and back is None else {},
        retry_of=None,
    )


def _must_take(old: Run, remark: str, answers: str | None) -> None:
    """Raise UsageError if a user's own command gets a message other than an answer, or an invalid answer."""
    if answers is None and remark:
        fix = f"to run its command again in the files that it left: pancode runs continue {old.id}"
        why = "a command does not read messages, only the answer to its own question"
        raise UsageError(
            f"{old.id} ran a command, so it cannot take messages", why=why, fix=fix, code="takes_no_words"
        )
    if answers is not None and (len(answers) > MAX_ANSWER or "\0" in answers):
        why = (
            f"the answer becomes an environment variable of the command: at most {MAX_ANSWER:,} characters, "
            "no NUL"
        )
        fix = f'pancode answer {old.id} "..."'
        raise UsageError(f"the answer to {old.id} is not valid", why=why, fix=fix, code="bad_words")


def _make_task(old: Run, words: str, same_session: bool) -> str:
    if RUNTIMES[old.runtime].own:
        return old.task
    if same_session:
        return f"{words}\n\n{_SAME_SESSION}" if find_beginning(old) is not None else words
    return f"{words}\n\n{summarize_run(old)}"


def message_for(old: Run, remark: str, by: str, left: LeftOver) -> str:
    """Return the next run's first message: the remark, with undelivered messages and news of the old run. Its
    sender is `by`, who gives the remark; messages of several users each name their sender."""
    if not old.takes_turns:
        added = (f"A user adds: {one.text}" for one in select_undelivered(left.words))
        return "\n\n".join((remark.strip() or GO_ON, *added))
    messages = [(opener_of(old), old.task)] if _is_repeated(old) else []
    messages += [(one.by, one.text) for one in select_undelivered(left.words)]
    remark = remark.strip()
    if _is_by_fleet(old, remark, left):  # No user requested this message, so the fleet is its sender.
        by, messages = FLEET, [*messages, *((FLEET, one) for one in left.news)]
    elif remark or left.news:
        messages.append((by, after_news(left.news, remark or GO_ON)))
    if any(who != by for who, _ in messages):
        return "\n\n".join(f"{who} said: {text}" for who, text in messages)
    return "\n\n".join(text for _, text in messages) or GO_ON


def _is_by_fleet(old: Run, remark: str, left: LeftOver) -> bool:
    """Whether the next interactive run begins only with messages of the fleet; news are not considered."""
    senders = {one.by for one in select_undelivered(left.words)} | (
        {opener_of(old)} if _is_repeated(old) else set()
    )
    return FLEET in senders and senders <= {FLEET, GATES} and not remark.strip()


def _is_repeated(old: Run) -> bool:
    """Whether the run's first message must be repeated, because no turn received it or the run is lost."""
    unbegun = not ended_turns(old) and old.failure is not FailureKind.RECEIPT_REJECTED
    return old.takes_turns and (unbegun or old.outcome is Outcome.LOST)


def _choose_summary(old: Run) -> str:
    """Return the summary for the next run; if the message is repeated, the one that `old` itself got."""
    return SessionTurn.of(old).story if _is_repeated(old) else summarize_run(old)


def summarize_run(old: Run) -> str:
    """Return the old run's task, end and answer as text, for an agent without its conversation."""
    return "\n\n".join((_NEW_SESSION.format(run=old.id), *_list_summary_parts(old)))


def _list_summary_parts(old: Run) -> Iterator[str]:
    yield f"--- Its task:\n{_clip_end(old.task, MOST_OF_A_TASK)}"
    yield f"--- How it ended: {old.outcome}: {old.reason}"
    gates = old.result.get("gates")
    rows = [one for one in gates if isinstance(one, dict)] if isinstance(gates, list | tuple) else []
    if rows:
        yield "--- Its gates:\n" + "\n".join(map(_format_gate, rows[:MOST_GATES]))
    answer = str(old.result.get("answer") or "")
    if answer:
        yield f"--- Its answer:\n{_clip_start(answer, MOST_OF_AN_ANSWER)}"


def _format_gate(gate: Mapping[str, Any]) -> str:
    return f"{gate['name']}: {'passed' if gate['passed'] else 'failed'}, exit {gate.get('exit_code')}"


def _clip_end(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n(the first {most} characters of {len(text)})"


def _clip_start(text: str, most: int) -> str:
    return text if len(text) <= most else f"(the last {most} characters of {len(text)})\n{text[-most:]}"
