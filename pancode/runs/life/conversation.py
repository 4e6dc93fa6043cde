"""The conversation with a run: users' messages, the turns of its session, and its continuations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from node_agent.wire.failure import Outcome
from node_agent.wire.job import MAX_TASK_BYTES, Reasoning
from node_agent.wire.policy import MODE_HANDS_ON, SAFETY_RANK, Mode, Safety
from node_agent.wire.receipt import SuspendReason, TurnRecord, TurnStop
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.names import FLEET
from pancode.kernel.records import Run, RunState, SessionRow, StoredMessage, TurnTaking
from pancode.kernel.values import replace
from pancode.runs.facts import Caller, EndedTurn, FleetLead, Lineage, SessionTurn
from pancode.runs.request import Beginning, DispatchRequest
from pancode.runs.retention.parts import must_have_changes

MOST_CHARS = 10_000
WITH_TASK = "with its task"
AT_A_TURN = "at a turn of attempt "
MOST_NEWS = 5
"""How many news items a session stores; older ones are dropped."""


def more_news(news: Sequence[str], what: str) -> tuple[str, ...]:
    """Return the news with this item added; the session's agent gets them before its next message."""
    return (*news, f"({what})")[-MOST_NEWS:]


def after_news(news: Sequence[str], text: str) -> str:
    """Return the message with the session's news before it."""
    return "\n\n".join(filter(None, (*news, text)))


def must_hear(run: Run, words: Sequence[StoredMessage], text: str, news: Sequence[str]) -> None:
    """Raise UsageError if the run accepts no messages, the message is empty or too long, or too many wait."""
    if RUNTIMES[run.runtime].own:
        raise UsageError(
            f"{run.id} runs a command, so it cannot take messages",
            fix=f"pancode runs show {run.id}",
            code="takes_no_words",
        )
    if not text.strip() or len(text) > MOST_CHARS:
        fix = f"send 1 to {MOST_CHARS} characters; for more: pancode runs continue {run.id}"
        raise UsageError("the message is empty or too long", fix=fix, code="bad_words")
    waiting = [f"{one.by} said: {one.text}\n\n" for one in select_undelivered(words)]
    # The next run's task contains all these messages.
    of_the_next = "".join((run.task, *waiting, after_news(news, text)))
    if len(of_the_next.encode()) > MAX_TASK_BYTES - 1_000:
        fix = f"to give the stored messages to a new run: pancode runs continue {run.id}"
        why = f"the limit is {MAX_TASK_BYTES - 1_000} bytes"
        what = f"the task of {run.id} and its undelivered messages are too long together with this one"
        raise UsageError(what, why=why, fix=fix, code="too_much_told")


def select_undelivered(words: Iterable[StoredMessage]) -> list[StoredMessage]:
    """Return the messages that no agent has received."""
    return [one for one in words if not one.laid]


def select_unread(words: Iterable[StoredMessage], attempt: int) -> list[StoredMessage]:
    """Return the messages that this attempt's agent did not receive, even if an earlier attempt's did."""
    here = (WITH_TASK, f"{AT_A_TURN}{attempt}")
    return [one for one in words if _is_open(one) and not one.for_next and one.laid not in here]


def mark_delivered(
    words: Iterable[StoredMessage], numbers: Collection[int], attempt: int
) -> list[StoredMessage]:
    """Return the messages with these numbers, marked as delivered to the agent of this attempt."""
    got = (one for one in words if one.number in numbers and _is_open(one))
    return [replace(one, laid=f"{AT_A_TURN}{attempt}") for one in got]


def in_turn(words: Iterable[StoredMessage], turn: TurnRecord, attempt: int) -> list[StoredMessage]:
    """Return the messages that the agent received in a turn, marked as delivered in this turn."""
    numbers, here = {one.number for one in turn.words}, f"{AT_A_TURN}{attempt}"
    return [replace(one, laid=one.laid or here, turn=turn.number) for one in words if one.number in numbers]


def can_receive_messages(run: Run) -> bool:
    """Whether the run's agent can receive messages of a user while it works."""
    return RUNTIMES[run.runtime].hears or run.takes_turns


def _is_open(word: StoredMessage) -> bool:
    """Whether an attempt may still receive this message."""
    return not word.laid or word.laid.startswith(AT_A_TURN)


NEXT = "continued_by"
"""The key in a run's result for the runs that continue it, oldest first."""


def must_have_ended(old: Run) -> None:
    """Raise UsageError if the run is active, or is lost so that its result is unknown."""
    if old.state is not RunState.ENDED:
        fix = f"to wait for its end: pancode logs -f {old.id}; or: pancode runs stop {old.id}"
        raise UsageError(f"{old.id} has not ended: it is {old.state}", fix=fix, code="not_ended")
    if old.outcome is Outcome.LOST:
        why = "the run's node did not answer, so there is no result to continue from"
        if old.takes_turns:
            why += "; a retry repeats the run's message, after the whole session before it"
        raise UsageError(f"{old.id} is lost", why=why, fix=f"pancode runs retry {old.id}", code="no_result")


def must_be_free(old: Run) -> None:
    """Raise RefusedError if the run was continued already, for example by another user."""
    if list_next_runs(old):
        newest = list_next_runs(old)[-1]
        raise RefusedError(
            f"{old.id} was already continued by {newest}",
            why="another request came first",
            fix=f"pancode runs show {newest}; to continue that run: pancode runs continue {newest}",
            code="already_continued",
        )


def must_be_open(session: SessionRow) -> None:
    """Raise RefusedError if a user has ended the session."""
    if session.closed_by is not None:
        raise RefusedError(
            f"{session.closed_by} ended the session of {session.run}",
            fix=f'to continue it: pancode attach {session.run} "..."',
            code="session_ended",
        )


def is_blocked(run: Run) -> bool:
    """Whether the run has ended because a user must decide how it continues."""
    return run.state is RunState.ENDED and run.outcome is Outcome.BLOCKED


def list_next_runs(run: Run) -> tuple[str, ...]:
    """Return the runs that continue this run."""
    found = run.result.get(NEXT)
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def has_change(run: Run) -> bool:
    """Whether the result has a change: the run's own, or one of the runs that it continues."""
    return run.result.get("commit") is not None or Lineage.of(run).carries


def find_beginning(old: Run) -> Beginning | None:
    """Return the commit where a new run continues: the old result, else its snapshot; None: no repository."""
    place, commit = old.workspace, old.result.get("commit") or old.workspace.get("snapshot")
    if place.get("kind") != "git" or commit is None:
        return None
    must_have_changes(old)
    base = place.get("base")
    form = str(place.get("object_format") or "sha1")
    carries = has_change(old) and old.landed is None
    base = None if base is None else str(base)
    return Beginning(old.id, str(place["repo"]), str(commit), base, form, carries)


def add_turn(run: Run, turn: TurnRecord, at_ms: int) -> Run:
    """Return the interactive run with this ended turn added."""
    used = turn.usage
    newest = EndedTurn(
        number=turn.number,
        stop=turn.stop.value,
        why=turn.why,
        at_ms=at_ms,
        tokens=used.input_tokens + used.output_tokens,
        cost_usd=None if used.cost_usd is None else f"{used.cost_usd:f}",
        cost_source=used.cost_source,
    )
    return replace(SessionTurn.of(run), turn=newest).on(run)


def stop_of(run: Run) -> str:
    """Return how the interactive run's newest turn ended; empty: no turn has ended."""
    turn = SessionTurn.of(run).turn
    return "" if turn is None else turn.stop


def is_turn_lost(run: Run) -> bool:
    """Whether the interactive run's newest turn was cut because its program ended or its node was lost."""
    return stop_of(run) == TurnStop.LOST or run.outcome is Outcome.LOST


def payer_of(run: Run) -> str:
    """Return the session that pays for the run: its own, or that of the interactive run that started it;
    empty: none."""
    return run.session if run.takes_turns else Caller.of(run).charged_to


def is_orchestrator(run: Run) -> bool:
    """Whether the run is an interactive run of an orchestrator, which has the fleet's own tools."""
    return bool(FleetLead.of(run).fleet)


@dataclass(frozen=True, slots=True)
class InteractiveTerms:
    """The terms that a user chose for a session: mode, safety level, model, reasoning level and program mode.
    `model`: as requested; `program_mode`: the program's name for it. None or empty: the default."""

    mode: Mode
    safety: Safety
    model: str | None = None
    reasoning: Reasoning | None = None
    program_mode: str = ""

    def as_json(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


def terms_of(run: Run) -> InteractiveTerms:
    """Return the terms of this interactive run."""
    mode = str(TurnTaking.of(run).turns.get("mode", ""))
    return InteractiveTerms(run.mode, run.safety, run.asked_model, run.reasoning, mode)


def read_terms(session: SessionRow) -> InteractiveTerms:
    """Return the terms with which the session's next interactive run begins."""
    return InteractiveTerms(*(getattr(session, one.name) for one in fields(InteractiveTerms)))


def intersect_rights(one: tuple[Mode, Safety], other: tuple[Mode, Safety]) -> tuple[Mode, Safety]:
    """Return the most permissive mode and safety level that both allow."""
    shared = MODE_HANDS_ON[one[0]] & MODE_HANDS_ON[other[0]]
    mode = next((mode for mode, _ in (one, other) if MODE_HANDS_ON[mode] == shared), Mode.REVIEW)
    return mode, min(one[1], other[1], key=SAFETY_RANK.__getitem__)


IDLE_MS, TURN_MS = 600_000, 1_800_000
"""How long an interactive run waits for a message before it is suspended, and the longest time of one turn;
in milliseconds."""


def as_interactive_run(request: DispatchRequest, session: str = "") -> DispatchRequest:
    """Return the request for an interactive run, with one attempt: a second would repeat its message."""
    turns = {"idle_ms": IDLE_MS, "turn_ms": TURN_MS, **request.turns}
    return replace(request, turns=turns, session=session or request.session, attempts=1, verify_retries=0)


def ended_turns(run: Run) -> int:
    """Return the number of the last ended turn; 0: no turn has ended."""
    turn = SessionTurn.of(run).turn
    return 0 if turn is None else turn.number


def is_between_turns(run: Run, words: Iterable[StoredMessage]) -> bool:
    """Whether the interactive run's program has had a turn and has answered all messages that it received."""
    messages = [one for one in words if not one.for_next]
    return ended_turns(run) > 0 and all(one.turn is not None or one.laid == WITH_TASK for one in messages)


def may_give_way(run: Run, session: SessionRow | None, words: Iterable[StoredMessage]) -> bool:
    """Whether the interactive run only waits for a message, and no suspension or end was requested."""
    if session is None or session.chosen_by or session.closed_by or run.stop_asked is not None:
        return False
    return run.takes_turns and not SessionTurn.of(run).gives_way and is_between_turns(run, words)


def is_cut_by_cap(run: Run) -> bool:
    """Whether the cost cap cut the interactive run's turn, so that a user decides whether it continues."""
    cut = stop_of(run) == TurnStop.LIMIT
    capped = run.result.get("rests") == SuspendReason.CAP or run.outcome is Outcome.BUDGET_EXCEEDED
    return bool(SessionTurn.of(run).more_usd) and cut and capped


def hears_of_gates(run: Run, rests: SuspendReason | None) -> bool:
    """Whether the session works unattended, so that its next interactive run begins with a message on failed
    gates. False if a user has cancelled the turn or suspended the session."""
    halted = rests is SuspendReason.ASKED or stop_of(run) == TurnStop.CANCELLED
    return not halted and SessionTurn.of(run).rounds >= 2


_OF_USER = (
    *(Outcome.INTERRUPTED, Outcome.BLOCKED, Outcome.BUDGET_EXCEEDED, Outcome.LOST),
    Outcome.POLICY_VIOLATION,
)
"""Outcomes after which a user decides whether a session continues."""


def can_continue_alone(
    run: Run, session: SessionRow | None, words: Iterable[StoredMessage], outcome: Outcome | None
) -> bool:
    """Whether the session's next interactive run begins without a user, because messages remain and the end
    of this run permits it."""
    wanted = session is not None and session.closed_by is None and run.stop_asked is None
    asked_or_cap = run.result.get("rests") in (SuspendReason.ASKED, SuspendReason.CAP)
    if asked_or_cap and all(one.by == FLEET for one in select_undelivered(words)):
        return False  # A user suspended the session, or would have to approve more budget.
    by_user = outcome in _OF_USER or is_cut_by_cap(run)
    return wanted and bool(select_undelivered(words)) and not list_next_runs(run) and not by_user


def opener_of(run: Run) -> str:
    """Return the sender of the message with which the interactive run began."""
    return str(TurnTaking.of(run).turns.get("by") or run.created_by)
