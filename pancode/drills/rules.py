"""Decides about a drill: what its runs do, when a fault was noticed and repaired, and what was lost."""

from __future__ import annotations

from collections.abc import Mapping

from pancode.drills.model import MARK, MOST_TEXT, DrillRow, Fault, Seen

HOLD_S = 6
"""How long a run of a drill works: longer than the injection of a fault takes."""


def write_task(drill: str) -> str:
    """Return the task of a run. Its effect, one line of output, is possible in each sandbox."""
    return f"{MARK}{drill}\nsleep {HOLD_S}\necho {drill}\n"


def is_noticed(before: Seen, now: Seen, fault: Fault) -> bool:
    """Whether the coordinator shows signs of the fault."""
    is_failed = now.run.failed > before.run.failed
    return not now.is_well or is_failed or (fault is not Fault.LINK and is_replaced(before, now, fault))


def is_recovered(before: Seen, now: Seen, fault: Fault) -> bool:
    """Whether what the fault ended runs again, and the nodes are online and linked."""
    return now.is_well and (fault is Fault.LINK or is_replaced(before, now, fault))


def is_replaced(before: Seen, now: Seen, fault: Fault) -> bool:
    """Whether another process has taken the place of the one that was killed; for a shim, whether its run
    ended."""
    match fault:
        case Fault.REDIS:
            heard = zip(before.heartbeats, now.heartbeats, strict=True)
            return now.redis not in (None, before.redis) and all(one != other for one, other in heard)
        case Fault.COORDINATOR:
            return now.coordinator != before.coordinator
        case Fault.SHIM:
            return now.run.outcome is not None
        case _:
            return all(one != other for one, other in zip(before.sessions, now.sessions, strict=True))


def judge_row(row: DrillRow, ends: Mapping[str, str | None], effects: Mapping[str, int | None]) -> DrillRow:
    """Return the row with what was lost and doubled. `ends`: the outcome of each run; `effects`: how often it
    had its effect, None if that is not known."""
    runs = [run for run in row.runs if run in ends]
    if not runs:
        return row
    lost = [run for run in runs if ends[run] != "done" or effects[run] == 0]
    doubled = sum(max(0, (effects[run] or 0) - 1) for run in runs)
    ended = [f"{run} ended as {ends[run] or 'nothing'}" for run in runs if ends[run] != "done"]
    unread = [f"the output of {run} cannot be read" for run in runs if effects[run] is None]
    problem = "; ".join([*filter(None, [row.problem]), *ended, *unread])[:MOST_TEXT]
    return row.model_copy(update={"lost": len(lost), "doubled": doubled, "problem": problem})
