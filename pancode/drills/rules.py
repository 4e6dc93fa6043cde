"""Decides about a drill: what its runs do, when a fault was noticed and repaired, and what was lost."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from pancode.drills.model import MARK, MOST_TEXT, DrillRow, Fault, Seen

HOLD_S = 6
"""How long a run of a drill works: longer than the injection of a fault takes."""


def write_task(drill: str, token: str, marks: str) -> str:
    """Return the task of a run: it works for a while, then appends its token to the file of marks."""
    return f"{MARK}{drill}\nsleep {HOLD_S}\necho {shlex.quote(token)} >> {shlex.quote(marks)}\n"


def write_reading(drill: str, marks: str) -> str:
    """Return the task that prints the file of marks and removes it."""
    file = shlex.quote(marks)
    return f"{MARK}{drill}\nif [ -e {file} ]; then cat {file}; fi\nrm -f {file}\n"


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
            return now.redis not in (None, before.redis)
        case Fault.COORDINATOR:
            return now.coordinator != before.coordinator
        case Fault.SHIM:
            return now.run.outcome is not None
        case _:
            return all(one != other for one, other in zip(before.sessions, now.sessions, strict=True))


def judge_row(
    row: DrillRow, tokens: Mapping[str, str], ends: Mapping[str, str | None], marks: Sequence[str]
) -> DrillRow:
    """Return the row with what was lost and doubled. `tokens`: the token of each run; `ends`: the outcome of
    each run; `marks`: the tokens that the runs wrote, on all nodes."""
    if row.skipped or not row.runs:
        return row
    written = Counter(marks)
    lost = [run for run in row.runs if ends.get(run) != "done" or not written[tokens[run]]]
    doubled = sum(max(0, written[tokens[run]] - 1) for run in row.runs)
    ended = ", ".join(
        f"{run} ended as {ends.get(run) or 'nothing'}" for run in lost if ends.get(run) != "done"
    )
    return add_problem(row.model_copy(update={"lost": len(lost), "doubled": doubled}), ended)


def add_problem(row: DrillRow, problem: str) -> DrillRow:
    """Return the row with one more problem, unless that is empty."""
    return row.model_copy(update={"problem": "; ".join(filter(None, (row.problem, problem)))[:MOST_TEXT]})
