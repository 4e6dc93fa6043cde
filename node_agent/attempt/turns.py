"""Reports each turn of an interactive run once, with its usage; suspends the run before a limit ends it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from decimal import Decimal

from node_agent.attempt.context import Case
from node_agent.attempt.ports import DiskFull, ReportedTurn, ReportedUsage, StepFailed
from node_agent.attempt.records import Note
from node_agent.attempt.verdict import LIMITS, Fault, over_limit
from node_agent.attempt.watch import OutputWatch
from node_agent.runtimes.base import TurnEnded
from node_agent.wire.event import Turned
from node_agent.wire.identity import turn_control_file
from node_agent.wire.job import Limits
from node_agent.wire.receipt import TurnRecord, TurnStop, Usage

NEAR = Decimal("0.8")
"""An interactive run that has used this share of its money or tokens is suspended after its turn."""
CAP = "cap"


def is_waiting(spent: ReportedUsage) -> bool:
    """Whether an interactive run waits for a message. Such a run writes nothing, so its idle limit is
    paused."""
    return bool(spent.turns) and spent.turns[-1].end is not None


def tell_turns(case: Case, watch: OutputWatch, cut: TurnEnded | None = None) -> None:
    """Report the turns that ended since the last report. `cut`: the end of an unfinished turn whose program
    has ended. Raises DiskFull."""
    spent = watch.spent
    for turn in spent.turns[len(case.entry.turns) :]:
        end = turn.end or cut
        if end is not None:
            total = end.used.model_copy(
                update={"cost_usd": spent.usage.cost_usd, "cost_source": spent.usage.cost_source}
            )
            record = record_of(turn, end, used_since(total, case.entry.turns))
            event = Turned(turn=record, bytes=end.end_at)
            case.context.journal.write(case.identity, Note(turns=(record,), say=(event,)))


def cut_by(fault: Fault | None, size: int, used: Usage) -> TurnEnded:
    """Return the end of a turn whose program has ended. `size`: bytes of its stream; `used`: its usage."""
    kind, why = (None, "the program ended") if fault is None else (fault.kind, fault.reason)
    return TurnEnded(TurnStop.LIMIT if kind in LIMITS else TurnStop.LOST, why, 0, size, used)


def record_of(turn: ReportedTurn, end: TurnEnded, usage: Usage) -> TurnRecord:
    """Return the turn for the receipt. The program reported the times; zero means not reported."""
    lasted = max(0, end.wall_ms - turn.began_wall_ms) if end.wall_ms else 0
    return TurnRecord(
        number=turn.number,
        words=turn.words,
        stop=end.stop,
        why=end.why,
        usage=usage.model_copy(update={"agent_ms": lasted}),
        began_wall_ms=turn.began_wall_ms or None,
        ended_wall_ms=end.wall_ms or None,
    )


def used_since(total: Usage, turns: Sequence[TurnRecord]) -> Usage:
    """Return the attempt's usage minus the usage of these turns."""
    cost = total.cost_usd
    if cost is not None:
        cost = max(Decimal(0), cost - sum((one.usage.cost_usd or Decimal(0) for one in turns), Decimal(0)))
    return total.model_copy(
        update={
            "cost_usd": cost,
            **{
                name: max(0, getattr(total, name) - sum(getattr(one.usage, name) for one in turns))
                for name in ("input_tokens", "cached_tokens", "output_tokens", "turns")
            },
        }
    )


def suspend_in_time(case: Case, watch: OutputWatch) -> None:
    """Ask the program to suspend when money or tokens run low, once per node agent process. Otherwise the
    gateway, which counts both, would end the interactive run in the middle of a turn."""
    spent = watch.spent
    if (
        watch.suspend_asked
        or not spent.turns
        or over_limit(lower_limits(case.job.limits), spent.usage) is None
    ):
        return
    number = spent.turns[-1].number
    with contextlib.suppress(StepFailed, DiskFull):
        case.context.lay(case.identity, turn_control_file(CAP, number), number, CAP)
        watch.suspend_asked = True


def lower_limits(limits: Limits) -> Limits:
    """Return the limits with four fifths of the money and of the tokens."""
    tokens = None if limits.tokens is None else int(limits.tokens * NEAR)
    return limits.model_copy(update={"tokens": tokens, "usd": limits.usd and limits.usd * NEAR})
