"""How a run is continued: from which commit, in which session, and which words its agent is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.order import MAX_ANSWER, MAX_TASK_BYTES, Reasoning
from node_agent.wire.policy import MODE_HANDS_ON, SAFETY_RANK, Mode, Safety
from node_agent.wire.receipt import RestReason, TurnRecord, TurnStop
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.facets import TurnTaking
from pancode.kernel.names import FLEET, GATES
from pancode.kernel.records import Run, RunState, SessionRow, Word
from pancode.kernel.values import replace
from pancode.runs.facets import Caller, EndedTurn, FleetLead, Lineage, SessionTurn
from pancode.runs.request import Beginning, DispatchRequest
from pancode.runs.retention.parts import must_have_changes

MOST_CHARS = 10_000
WITH_TASK = "with its task"
AT_A_TURN = "at a turn of attempt "
MOST_NEWS = 5
"""How many pieces of news a session keeps; older ones are dropped."""


def more_news(news: Sequence[str], what: str) -> tuple[str, ...]:
    """Return the news with this one added: the session's agent is told them before the next words."""
    return (*news, f"({what})")[-MOST_NEWS:]


def after_news(news: Sequence[str], text: str) -> str:
    """Return the words with the session's news before them."""
    return "\n\n".join(filter(None, (*news, text)))


def must_hear(run: Run, words: Sequence[Word], text: str, news: Sequence[str]) -> None:
    """UsageError when the run takes no words, when these do not fit, or when it keeps too many already."""
    if RUNTIMES[run.runtime].own:
        raise UsageError(
            f"{run.id} runs a command, so it cannot be given words",
            fix=f"pancode runs show {run.id}",
            code="takes_no_words",
        )
    if not text.strip() or len(text) > MOST_CHARS:
        fix = f"say it in 1 to {MOST_CHARS} characters; longer: pancode runs continue {run.id}"
        raise UsageError("there are no words, or too many", fix=fix, code="bad_words")
    waiting = [f"{one.by} said: {one.text}\n\n" for one in kept(words)]
    # The task of the next run has them all.
    of_the_next = "".join((run.task, *waiting, after_news(news, text)))
    if len(of_the_next.encode()) > MAX_TASK_BYTES - 1_000:
        fix = f"pancode runs continue {run.id}"
        raise UsageError(f"{run.id} can keep no more words", fix=fix, code="too_much_told")


def kept(words: Iterable[Word]) -> list[Word]:
    """The words that no agent got yet."""
    return [one for one in words if not one.laid]


def unheard(words: Iterable[Word], attempt: int) -> list[Word]:
    """The words that this attempt's agent did not get, those that an earlier attempt got among them."""
    here = (WITH_TASK, f"{AT_A_TURN}{attempt}")
    return [one for one in words if _is_open(one) and not one.for_next and one.laid not in here]


def heard(words: Iterable[Word], numbers: Collection[int], attempt: int) -> list[Word]:
    """Return the words of these numbers, marked as delivered to this attempt's agent."""
    got = (one for one in words if one.number in numbers and _is_open(one))
    return [replace(one, laid=f"{AT_A_TURN}{attempt}") for one in got]


def in_turn(words: Iterable[Word], turn: TurnRecord, attempt: int) -> list[Word]:
    """Return the words that a turn was given, marked as delivered and as this turn's."""
    numbers, here = {one.number for one in turn.words}, f"{AT_A_TURN}{attempt}"
    return [replace(one, laid=one.laid or here, turn=turn.number) for one in words if one.number in numbers]


def spoken(run: Run, turn: TurnRecord, at_ms: int) -> Run:
    """Return the sitting with this ended turn as its newest."""
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
    """How the sitting's newest turn has ended; empty: none has."""
    turn = SessionTurn.of(run).turn
    return "" if turn is None else turn.stop


def is_turn_lost(run: Run) -> bool:
    """Whether the sitting's newest turn was cut because its program ended or its node was lost."""
    return stop_of(run) == TurnStop.LOST or run.outcome is Outcome.LOST


def hears(run: Run) -> bool:
    """Whether the run's agent is given words of a person while it works."""
    return RUNTIMES[run.runtime].hears or run.takes_turns


def payer_of(run: Run) -> str:
    """The session that pays for the run: the run's own, or that of the sitting that began it; empty: none."""
    return run.session if run.takes_turns else Caller.of(run).charged_to


def leads(run: Run) -> bool:
    """Whether the run is a sitting of an orchestrator, which has the fleet's own tools."""
    return bool(FleetLead.of(run).fleet)


@dataclass(frozen=True, slots=True)
class SittingTerms:
    """The terms that a person chooses for a session: mode and level, model, effort and the program's mode.

    `model`: as it is asked for; `program_mode`: by the program's own name. None or empty: the default.
    """

    mode: Mode
    safety: Safety
    model: str | None = None
    reasoning: Reasoning | None = None
    program_mode: str = ""

    def as_json(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


def terms_of(run: Run) -> SittingTerms:
    """The terms that this sitting has."""
    mode = str(TurnTaking.of(run).turns.get("mode", ""))
    return SittingTerms(run.mode, run.safety, run.asked_model, run.reasoning, mode)


def wanted(session: SessionRow) -> SittingTerms:
    """The terms that the session's next sitting begins with."""
    return SittingTerms(*(getattr(session, one.name) for one in fields(SittingTerms)))


def narrower(one: tuple[Mode, Safety], other: tuple[Mode, Safety]) -> tuple[Mode, Safety]:
    """The widest mode and level that both of these allow."""
    shared = MODE_HANDS_ON[one[0]] & MODE_HANDS_ON[other[0]]
    mode = next((mode for mode, _ in (one, other) if MODE_HANDS_ON[mode] == shared), Mode.REVIEW)
    return mode, min(one[1], other[1], key=SAFETY_RANK.__getitem__)


IDLE_MS, TURN_MS = 600_000, 1_800_000
"""How long a sitting waits for words before it rests, and the longest time of one turn; in milliseconds."""


def as_sitting(request: DispatchRequest, session: str = "") -> DispatchRequest:
    """Return the request as one for a sitting, with one attempt: a second would say its words again."""
    turns = {"idle_ms": IDLE_MS, "turn_ms": TURN_MS, **request.turns}
    return replace(request, turns=turns, session=session or request.session, attempts=1, verify_retries=0)


def ended_turns(run: Run) -> int:
    """The number of the newest turn that has ended; 0: none has."""
    turn = SessionTurn.of(run).turn
    return 0 if turn is None else turn.number


def is_between_turns(run: Run, words: Iterable[Word]) -> bool:
    """Whether the sitting's program has had a turn and has answered all words that it was given."""
    said = [one for one in words if not one.for_next]
    return ended_turns(run) > 0 and all(one.turn is not None or one.laid == WITH_TASK for one in said)


def may_give_way(run: Run, session: SessionRow | None, words: Iterable[Word]) -> bool:
    """Whether the sitting only waits for words, and was not asked to rest, to end or to give way."""
    if session is None or session.chosen_by or session.closed_by or run.stop_asked is not None:
        return False
    return run.takes_turns and not SessionTurn.of(run).gives_way and is_between_turns(run, words)


def is_cut_by_cap(run: Run) -> bool:
    """Whether the sitting's cap has cut its turn, so that a person is asked whether it goes on."""
    cut = stop_of(run) == TurnStop.LIMIT
    capped = run.result.get("rests") == RestReason.CAP or run.outcome is Outcome.BUDGET_EXCEEDED
    return bool(SessionTurn.of(run).more_usd) and cut and capped


def hears_of_gates(run: Run, rests: RestReason | None) -> bool:
    """Whether the sitting is left alone, so that its next one begins with the words about failed gates.

    Not where a person has cancelled its turn or let it rest.
    """
    halted = rests is RestReason.ASKED or stop_of(run) == TurnStop.CANCELLED
    return not halted and SessionTurn.of(run).rounds >= 2


_A_PERSONS = (
    *(Outcome.INTERRUPTED, Outcome.BLOCKED, Outcome.BUDGET_EXCEEDED, Outcome.LOST),
    Outcome.POLICY_VIOLATION,
)
"""Ends after which a person decides whether a session goes on."""


def goes_on_by_itself(
    run: Run, session: SessionRow | None, words: Iterable[Word], outcome: Outcome | None
) -> bool:
    """Whether the session's next sitting begins without a person: words are left, and the end allows it."""
    wanted = session is not None and session.closed_by is None and run.stop_asked is None
    asked_or_cap = run.result.get("rests") in (RestReason.ASKED, RestReason.CAP)
    if asked_or_cap and all(one.by == FLEET for one in kept(words)):
        return False  # a person lets it rest, or would have to pay for more
    asks = outcome in _A_PERSONS or is_cut_by_cap(run)
    return wanted and bool(kept(words)) and not nexts(run) and not asks


def _is_open(word: Word) -> bool:
    """Whether an attempt may still get this word."""
    return not word.laid or word.laid.startswith(AT_A_TURN)


NEXT = "continued_by"
"""The key in a run's result that lists the runs that go on from it, oldest first."""
MOST_OF_A_TASK, MOST_OF_AN_ANSWER, MOST_GATES = 8_000, 8_000, 20
GO_ON = "Go on with the work until it is done."
_RESTORED = (
    "A person has taken this conversation back to an earlier point, which is called {name}. The files are as "
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
    """The point of a session to which a person went back: its next sitting begins where `at` ended.

    `name`: the point's name for a person; `told`: the conversation until then.
    """

    at: Run
    name: str
    told: str


@dataclass(frozen=True, slots=True)
class LeftOver:
    """What the next run is told: words that the old one kept, its session's news, and a way back."""

    words: Sequence[Word] = ()
    news: Sequence[str] = ()
    back: WayBack | None = None


def must_have_ended(old: Run) -> None:
    """UsageError while the run is at work, and when it is lost, as then no result is known."""
    if old.state is not RunState.ENDED:
        fix = f"wait for its end: pancode runs logs -f {old.id}; or: pancode runs stop {old.id}"
        raise UsageError(f"{old.id} has not ended, it is {old.state}", fix=fix, code="not_ended")
    if old.outcome is Outcome.LOST:
        why = "its node was not heard, so there is no result to go on from"
        if old.takes_turns:
            why += "; a retry says its words again, with all that its session had before it"
        raise UsageError(f"{old.id} is lost", why=why, fix=f"pancode runs retry {old.id}", code="no_result")


def must_be_free(old: Run) -> None:
    """RefusedError when the run was continued already, as by the faster one of two people who answer."""
    if nexts(old):
        newest = nexts(old)[-1]
        raise RefusedError(
            f"{old.id} was continued already, by {newest}",
            why="somebody was faster",
            fix=f"pancode runs show {newest}; to continue that one: pancode runs continue {newest}",
            code="already_continued",
        )


def must_be_open(session: SessionRow) -> None:
    """RefusedError when a person has ended the session."""
    if session.closed_by is not None:
        raise RefusedError(
            f"{session.closed_by} has ended the session of {session.run}",
            fix=f'go on with it: pancode attach {session.run} "..."',
            code="session_ended",
        )


def is_blocked(run: Run) -> bool:
    """Whether the run has ended because a person must decide how it goes on."""
    return run.state is RunState.ENDED and run.outcome is Outcome.BLOCKED


def nexts(run: Run) -> tuple[str, ...]:
    """The runs that go on from this run."""
    found = run.result.get(NEXT)
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def has_change(run: Run) -> bool:
    """Whether the result has a change: the run's own, or one of the runs that it goes on from."""
    return run.result.get("commit") is not None or Lineage.of(run).carries


def beginning(old: Run) -> Beginning | None:
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


def session_of(old: Run, reachable: bool) -> Mapping[str, str]:
    """The session to resume, in the form of an order; empty: the program has none, or its node is away."""
    session = old.result.get("session")
    if not reachable or not RUNTIMES[old.runtime].resumes:
        return {}
    if session is not None:
        return {"run": old.id, "session": str(session)}
    gone = not old.takes_turns or old.failure is FailureKind.CANNOT_START  # its node may not have it any more
    return {} if gone else old.resumes  # its program never began: the memory of before


def continued(
    old: Run,
    again: DispatchRequest,
    remark: str,
    reachable: bool,
    answers: str | None = None,
    program: str = "",
    left: LeftOver = LeftOver(),
) -> DispatchRequest:
    """Return the request for the new run. `again`: the old run's request; `reachable`: its node is available;
    `left`: what the new run is told besides the remark.

    UsageError for words to a program that takes none, and for an answer that its environment cannot hold.
    """
    if RUNTIMES[old.runtime].own:
        _must_take(old, remark, answers)
    back, lineage = left.back, Lineage.of(old)
    resume = session_of(old, reachable) if back is None else {}
    words = words_for(old, remark, again.created_by, left)
    node = str(old.result.get("node") or old.node) if resume else again.node
    turns = {name: one for name, one in again.turns.items() if name != "by"}
    if turns and _is_by_fleet(old, remark, left):
        turns["by"] = FLEET
    story = _story_for(old) if back is None else _RESTORED.format(name=back.name, told=back.told)
    return replace(
        again,
        turns=turns,
        task=words if again.turns else _task(old, words, bool(resume)),
        story=story if again.turns else "",
        node=node,
        resume=resume,
        begins=beginning(old if back is None else back.at),
        continues=old.id,
        in_workspace=lineage.in_workspace,
        answers=answers,
        program=program,
        resolves=lineage.resolves if old.landed is None and back is None else {},
        retry_of=None,
    )


def _must_take(old: Run, remark: str, answers: str | None) -> None:
    """UsageError for words to a user's own program that are no answer, and if the answer does not fit."""
    if answers is None and remark:
        fix = f"run its command again in the files that it left: pancode runs continue {old.id}"
        why = "nothing would read them: only an answer to its own question reaches a command"
        raise UsageError(
            f"{old.id} ran a command, so it cannot be given words", why=why, fix=fix, code="takes_no_words"
        )
    if answers is not None and (len(answers) > MAX_ANSWER or "\0" in answers):
        why = f"a variable of the command's environment holds it: {MAX_ANSWER:,} characters at most, no NUL"
        fix = f'pancode answer {old.id} "..."'
        raise UsageError(f"the answer to {old.id} does not fit", why=why, fix=fix, code="bad_words")


def _task(old: Run, words: str, same_session: bool) -> str:
    if RUNTIMES[old.runtime].own:
        return old.task
    if same_session:
        return f"{words}\n\n{_SAME_SESSION}" if beginning(old) is not None else words
    return f"{words}\n\n{story_of(old)}"


def words_for(old: Run, remark: str, by: str, left: LeftOver) -> str:
    """The words that the next run begins with: the remark, and the words and news that the old run left.

    They count as words of `by`, who gives the remark; words of several people each name who said them.
    """
    if not old.takes_turns:
        added = (f"A person adds: {one.text}" for one in kept(left.words))
        return "\n\n".join((remark.strip() or GO_ON, *added))
    said = [(opener_of(old), old.task)] if _is_said_again(old) else []
    said += [(one.by, one.text) for one in kept(left.words)]
    remark = remark.strip()
    if _is_by_fleet(old, remark, left):  # nobody has asked that anything goes on
        by, said = FLEET, [*said, *((FLEET, one) for one in left.news)]
    elif remark or left.news:
        said.append((by, after_news(left.news, remark or GO_ON)))
    if any(who != by for who, _ in said):
        return "\n\n".join(f"{who} said: {text}" for who, text in said)
    return "\n\n".join(text for _, text in said) or GO_ON


def opener_of(run: Run) -> str:
    """Who has said the words with which the sitting began."""
    return str(TurnTaking.of(run).turns.get("by") or run.created_by)


def _is_by_fleet(old: Run, remark: str, left: LeftOver) -> bool:
    """Whether the next sitting begins with the fleet's words and with no person's; news do not count."""
    said = {one.by for one in kept(left.words)} | ({opener_of(old)} if _is_said_again(old) else set())
    return FLEET in said and said <= {FLEET, GATES} and not remark.strip()


def _is_said_again(old: Run) -> bool:
    """Whether the sitting's first words are said again: no turn took them, or the sitting is lost."""
    unbegun = not ended_turns(old) and old.failure is not FailureKind.RECEIPT_REJECTED
    return old.takes_turns and (unbegun or old.outcome is Outcome.LOST)


def _story_for(old: Run) -> str:
    """The story for the next sitting: the old sitting's own story where its first words are said again."""
    return SessionTurn.of(old).story if _is_said_again(old) else story_of(old)


def story_of(old: Run) -> str:
    """The old run's task, end and answer, for an agent that does not remember them."""
    return "\n\n".join((_NEW_SESSION.format(run=old.id), *_story(old)))


def _story(old: Run) -> Iterator[str]:
    yield f"--- Its task:\n{_first(old.task, MOST_OF_A_TASK)}"
    yield f"--- How it ended: {old.outcome}: {old.reason}"
    gates = old.result.get("gates")
    rows = [one for one in gates if isinstance(one, dict)] if isinstance(gates, list | tuple) else []
    if rows:
        yield "--- Its gates:\n" + "\n".join(map(_gate, rows[:MOST_GATES]))
    answer = str(old.result.get("answer") or "")
    if answer:
        yield f"--- Its answer:\n{_last(answer, MOST_OF_AN_ANSWER)}"


def _gate(gate: Mapping[str, Any]) -> str:
    return f"{gate['name']}: {'passed' if gate['passed'] else 'failed'}, exit {gate.get('exit_code')}"


def _first(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n(the first {most} characters of {len(text)})"


def _last(text: str, most: int) -> str:
    return text if len(text) <= most else f"(the last {most} characters of {len(text)})\n{text[-most:]}"
