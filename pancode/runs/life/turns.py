"""The turns of a session's run, the terms of its next run, who pays, and when it gives way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from node_agent.wire.failure import Outcome
from node_agent.wire.order import Reasoning
from node_agent.wire.policy import MODE_HANDS_ON, SAFETY_RANK, Mode, Safety
from node_agent.wire.receipt import RestReason, TurnRecord, TurnStop
from pancode.kernel.facets import TurnTaking
from pancode.kernel.names import FLEET
from pancode.kernel.records import Run, SessionRow, Word
from pancode.kernel.values import replace
from pancode.runs.facets import Caller, EndedTurn, FleetLead, SessionTurn
from pancode.runs.life.messages import WITH_TASK, select_undelivered
from pancode.runs.life.successors import list_next_runs
from pancode.runs.request import DispatchRequest


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


def is_between_turns(run: Run, words: Iterable[Word]) -> bool:
    """Whether the interactive run's program has had a turn and has answered all words that it was given."""
    said = [one for one in words if not one.for_next]
    return ended_turns(run) > 0 and all(one.turn is not None or one.laid == WITH_TASK for one in said)


def may_give_way(run: Run, session: SessionRow | None, words: Iterable[Word]) -> bool:
    """Whether the interactive run only waits for a message, and was not asked to rest, to end
    or to give way."""
    if session is None or session.chosen_by or session.closed_by or run.stop_asked is not None:
        return False
    return run.takes_turns and not SessionTurn.of(run).gives_way and is_between_turns(run, words)


def is_cut_by_cap(run: Run) -> bool:
    """Whether the interactive run's cap has cut its turn, so that a user is asked whether it goes on."""
    cut = stop_of(run) == TurnStop.LIMIT
    capped = run.result.get("rests") == RestReason.CAP or run.outcome is Outcome.BUDGET_EXCEEDED
    return bool(SessionTurn.of(run).more_usd) and cut and capped


def hears_of_gates(run: Run, rests: RestReason | None) -> bool:
    """Whether the interactive run is left alone, so that its next one begins with the words about failed
    gates.

    Not where a user has cancelled its turn or let it rest.
    """
    halted = rests is RestReason.ASKED or stop_of(run) == TurnStop.CANCELLED
    return not halted and SessionTurn.of(run).rounds >= 2


_A_PERSONS = (
    *(Outcome.INTERRUPTED, Outcome.BLOCKED, Outcome.BUDGET_EXCEEDED, Outcome.LOST),
    Outcome.POLICY_VIOLATION,
)
"""Ends after which a user decides whether a session goes on."""


def goes_on_by_itself(
    run: Run, session: SessionRow | None, words: Iterable[Word], outcome: Outcome | None
) -> bool:
    """Whether the session's next interactive run begins without a user: words are left, and the end allows
    it."""
    wanted = session is not None and session.closed_by is None and run.stop_asked is None
    asked_or_cap = run.result.get("rests") in (RestReason.ASKED, RestReason.CAP)
    if asked_or_cap and all(one.by == FLEET for one in select_undelivered(words)):
        return False  # a user lets it rest, or would have to pay for more
    asks = outcome in _A_PERSONS or is_cut_by_cap(run)
    return wanted and bool(select_undelivered(words)) and not list_next_runs(run) and not asks


def opener_of(run: Run) -> str:
    """Who has said the words with which the interactive run began."""
    return str(TurnTaking.of(run).turns.get("by") or run.created_by)
