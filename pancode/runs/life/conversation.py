"""The conversation with a run: messages of users, the turns of its session, and which runs continue it."""

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
from pancode.kernel.facets import Caller, EndedTurn, FleetLead, Lineage, SessionTurn, TurnTaking
from pancode.kernel.names import FLEET
from pancode.kernel.records import Run, RunState, SessionRow, StoredMessage
from pancode.kernel.values import replace
from pancode.runs.request import Beginning, DispatchRequest
from pancode.runs.retention.parts import must_have_changes

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


def must_hear(run: Run, words: Sequence[StoredMessage], text: str, news: Sequence[str]) -> None:
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


def select_undelivered(words: Iterable[StoredMessage]) -> list[StoredMessage]:
    """The words that no agent got yet."""
    return [one for one in words if not one.laid]


def select_unread(words: Iterable[StoredMessage], attempt: int) -> list[StoredMessage]:
    """The words that this attempt's agent did not get, those that an earlier attempt got among them."""
    here = (WITH_TASK, f"{AT_A_TURN}{attempt}")
    return [one for one in words if _is_open(one) and not one.for_next and one.laid not in here]


def mark_delivered(
    words: Iterable[StoredMessage], numbers: Collection[int], attempt: int
) -> list[StoredMessage]:
    """Return the words of these numbers, marked as delivered to this attempt's agent."""
    got = (one for one in words if one.number in numbers and _is_open(one))
    return [replace(one, laid=f"{AT_A_TURN}{attempt}") for one in got]


def in_turn(words: Iterable[StoredMessage], turn: TurnRecord, attempt: int) -> list[StoredMessage]:
    """Return the words that a turn was given, marked as delivered and as this turn's."""
    numbers, here = {one.number for one in turn.words}, f"{AT_A_TURN}{attempt}"
    return [replace(one, laid=one.laid or here, turn=turn.number) for one in words if one.number in numbers]


def can_receive_messages(run: Run) -> bool:
    """Whether the run's agent is given messages of a user while it works."""
    return RUNTIMES[run.runtime].hears or run.takes_turns


def _is_open(word: StoredMessage) -> bool:
    """Whether an attempt may still get this word."""
    return not word.laid or word.laid.startswith(AT_A_TURN)


NEXT = "continued_by"
"""The key in a run's result that lists the runs that continue from it, oldest first."""


def must_have_ended(old: Run) -> None:
    """UsageError while the run is at work, and when it is lost, as then no result is known."""
    if old.state is not RunState.ENDED:
        fix = f"wait for its end: pancode runs logs -f {old.id}; or: pancode runs stop {old.id}"
        raise UsageError(f"{old.id} has not ended: it is {old.state}", fix=fix, code="not_ended")
    if old.outcome is Outcome.LOST:
        why = "its node did not answer, so there is no result to continue from"
        if old.takes_turns:
            why += "; a retry says its words again, with all that its session had before it"
        raise UsageError(f"{old.id} is lost", why=why, fix=f"pancode runs retry {old.id}", code="no_result")


def must_be_free(old: Run) -> None:
    """RefusedError when the run was continued already, as by the faster one of two users who answer."""
    if list_next_runs(old):
        newest = list_next_runs(old)[-1]
        raise RefusedError(
            f"{old.id} was already continued by {newest}",
            why="another request was faster",
            fix=f"pancode runs show {newest}; to continue that one: pancode runs continue {newest}",
            code="already_continued",
        )


def must_be_open(session: SessionRow) -> None:
    """RefusedError when a user has ended the session."""
    if session.closed_by is not None:
        raise RefusedError(
            f"{session.closed_by} ended the session of {session.run}",
            fix=f'continue it: pancode attach {session.run} "..."',
            code="session_ended",
        )


def is_blocked(run: Run) -> bool:
    """Whether the run has ended because a user must decide how it continues."""
    return run.state is RunState.ENDED and run.outcome is Outcome.BLOCKED


def list_next_runs(run: Run) -> tuple[str, ...]:
    """The runs that continue from this run."""
    found = run.result.get(NEXT)
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def has_change(run: Run) -> bool:
    """Whether the result has a change: the run's own, or one of the runs that it continues from."""
    return run.result.get("commit") is not None or Lineage.of(run).carries


def find_beginning(old: Run) -> Beginning | None:
    """The commit where the new run begins: the old result, else the old snapshot; None: no repository."""
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
    """Return the interactive run with this ended turn as its newest."""
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
    """How the interactive run's newest turn has ended; empty: none has."""
    turn = SessionTurn.of(run).turn
    return "" if turn is None else turn.stop


def is_turn_lost(run: Run) -> bool:
    """Whether the interactive run's newest turn was cut because its program ended or its node was lost."""
    return stop_of(run) == TurnStop.LOST or run.outcome is Outcome.LOST


def payer_of(run: Run) -> str:
    """The session that pays for the run: the run's own, or that of the interactive run that began it; empty:
    none."""
    return run.session if run.takes_turns else Caller.of(run).charged_to


def is_orchestrator(run: Run) -> bool:
    """Whether the run is an interactive run of an orchestrator, which has the fleet's own tools."""
    return bool(FleetLead.of(run).fleet)


@dataclass(frozen=True, slots=True)
class InteractiveTerms:
    """The terms that a user chooses for a session: mode and level, model, effort and the program's mode.

    `model`: as it is asked for; `program_mode`: by the program's own name. None or empty: the default.
    """

    mode: Mode
    safety: Safety
    model: str | None = None
    reasoning: Reasoning | None = None
    program_mode: str = ""

    def as_json(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


def terms_of(run: Run) -> InteractiveTerms:
    """The terms that this interactive run has."""
    mode = str(TurnTaking.of(run).turns.get("mode", ""))
    return InteractiveTerms(run.mode, run.safety, run.asked_model, run.reasoning, mode)


def read_terms(session: SessionRow) -> InteractiveTerms:
    """The terms that the session's next interactive run begins with."""
    return InteractiveTerms(*(getattr(session, one.name) for one in fields(InteractiveTerms)))


def intersect_rights(one: tuple[Mode, Safety], other: tuple[Mode, Safety]) -> tuple[Mode, Safety]:
    """The widest mode and level that both of these allow."""
    shared = MODE_HANDS_ON[one[0]] & MODE_HANDS_ON[other[0]]
    mode = next((mode for mode, _ in (one, other) if MODE_HANDS_ON[mode] == shared), Mode.REVIEW)
    return mode, min(one[1], other[1], key=SAFETY_RANK.__getitem__)


IDLE_MS, TURN_MS = 600_000, 1_800_000
"""How long an interactive run waits for a message before it rests, and the longest time of one turn; in
milliseconds."""


def as_interactive_run(request: DispatchRequest, session: str = "") -> DispatchRequest:
    """Return the request as one for an interactive run, with one attempt: a second would say
    its words again."""
    turns = {"idle_ms": IDLE_MS, "turn_ms": TURN_MS, **request.turns}
    return replace(request, turns=turns, session=session or request.session, attempts=1, verify_retries=0)


def ended_turns(run: Run) -> int:
    """The number of the newest turn that has ended; 0: none has."""
    turn = SessionTurn.of(run).turn
    return 0 if turn is None else turn.number


def is_between_turns(run: Run, words: Iterable[StoredMessage]) -> bool:
    """Whether the interactive run's program has had a turn and has answered all words that it was given."""
    messages = [one for one in words if not one.for_next]
    return ended_turns(run) > 0 and all(one.turn is not None or one.laid == WITH_TASK for one in messages)


def may_give_way(run: Run, session: SessionRow | None, words: Iterable[StoredMessage]) -> bool:
    """Whether the interactive run only waits for a message, and was not asked to rest, to end
    or to give way."""
    if session is None or session.chosen_by or session.closed_by or run.stop_asked is not None:
        return False
    return run.takes_turns and not SessionTurn.of(run).gives_way and is_between_turns(run, words)


def is_cut_by_cap(run: Run) -> bool:
    """Whether the interactive run's cap has cut its turn, so that a user is asked whether it continues."""
    cut = stop_of(run) == TurnStop.LIMIT
    capped = run.result.get("rests") == SuspendReason.CAP or run.outcome is Outcome.BUDGET_EXCEEDED
    return bool(SessionTurn.of(run).more_usd) and cut and capped


def hears_of_gates(run: Run, rests: SuspendReason | None) -> bool:
    """Whether the interactive run is left alone, so that its next one begins with the words about failed
    gates.

    Not where a user has cancelled its turn or let it rest.
    """
    halted = rests is SuspendReason.ASKED or stop_of(run) == TurnStop.CANCELLED
    return not halted and SessionTurn.of(run).rounds >= 2


_OF_USER = (
    *(Outcome.INTERRUPTED, Outcome.BLOCKED, Outcome.BUDGET_EXCEEDED, Outcome.LOST),
    Outcome.POLICY_VIOLATION,
)
"""Ends after which a user decides whether a session continues."""


def goes_on_by_itself(
    run: Run, session: SessionRow | None, words: Iterable[StoredMessage], outcome: Outcome | None
) -> bool:
    """Whether the session's next interactive run begins without a user: words are left, and the end allows
    it."""
    wanted = session is not None and session.closed_by is None and run.stop_asked is None
    asked_or_cap = run.result.get("rests") in (SuspendReason.ASKED, SuspendReason.CAP)
    if asked_or_cap and all(one.by == FLEET for one in select_undelivered(words)):
        return False  # a user lets it rest, or would have to pay for more
    by_user = outcome in _OF_USER or is_cut_by_cap(run)
    return wanted and bool(select_undelivered(words)) and not list_next_runs(run) and not by_user


def opener_of(run: Run) -> str:
    """Who has said the words with which the interactive run began."""
    return str(TurnTaking.of(run).turns.get("by") or run.created_by)
