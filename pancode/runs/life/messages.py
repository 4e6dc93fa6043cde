"""What users say to a run: when its agent is told, and what is kept for the next one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from node_agent.wire.order import MAX_TASK_BYTES
from node_agent.wire.receipt import TurnRecord
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.errors import UsageError
from pancode.kernel.records import Run, Word
from pancode.kernel.values import replace

MOST_CHARS = 10_000
WITH_TASK = "with its task"
AT_A_TURN = "at a turn of attempt "
MOST_NEWS = 5
"""How many pieces of news a session keeps; older ones are dropped."""


def more_news(news: Sequence[str], what: str) -> tuple[str, ...]:
    """Return the news with this one added: the session's agent is told them before the next message."""
    return (*news, f"({what})")[-MOST_NEWS:]


def after_news(news: Sequence[str], text: str) -> str:
    """Return the words with the session's news before them."""
    return "\n\n".join(filter(None, (*news, text)))


def must_hear(run: Run, words: Sequence[Word], text: str, news: Sequence[str]) -> None:
    """UsageError when the run takes no words, when these do not fit, or when it keeps too many already."""
    if RUNTIMES[run.runtime].own:
        raise UsageError(
            f"{run.id} runs a command, so it cannot take messages",
            fix=f"pancode runs show {run.id}",
            code="takes_no_words",
        )
    if not text.strip() or len(text) > MOST_CHARS:
        fix = f"say it in 1 to {MOST_CHARS} characters; longer: pancode runs continue {run.id}"
        raise UsageError("the message is empty or too long", fix=fix, code="bad_words")
    waiting = [f"{one.by} said: {one.text}\n\n" for one in select_undelivered(words)]
    # The task of the next run has them all.
    of_the_next = "".join((run.task, *waiting, after_news(news, text)))
    if len(of_the_next.encode()) > MAX_TASK_BYTES - 1_000:
        fix = f"pancode runs continue {run.id}"
        raise UsageError(f"{run.id} cannot queue more messages", fix=fix, code="too_much_told")


def select_undelivered(words: Iterable[Word]) -> list[Word]:
    """The words that no agent got yet."""
    return [one for one in words if not one.laid]


def select_unread(words: Iterable[Word], attempt: int) -> list[Word]:
    """The words that this attempt's agent did not get, those that an earlier attempt got among them."""
    here = (WITH_TASK, f"{AT_A_TURN}{attempt}")
    return [one for one in words if _is_open(one) and not one.for_next and one.laid not in here]


def mark_delivered(words: Iterable[Word], numbers: Collection[int], attempt: int) -> list[Word]:
    """Return the words of these numbers, marked as delivered to this attempt's agent."""
    got = (one for one in words if one.number in numbers and _is_open(one))
    return [replace(one, laid=f"{AT_A_TURN}{attempt}") for one in got]


def in_turn(words: Iterable[Word], turn: TurnRecord, attempt: int) -> list[Word]:
    """Return the words that a turn was given, marked as delivered and as this turn's."""
    numbers, here = {one.number for one in turn.words}, f"{AT_A_TURN}{attempt}"
    return [replace(one, laid=one.laid or here, turn=turn.number) for one in words if one.number in numbers]


def can_receive_messages(run: Run) -> bool:
    """Whether the run's agent is given words of a user while it works."""
    return RUNTIMES[run.runtime].hears or run.takes_turns


def _is_open(word: Word) -> bool:
    """Whether an attempt may still get this word."""
    return not word.laid or word.laid.startswith(AT_A_TURN)
