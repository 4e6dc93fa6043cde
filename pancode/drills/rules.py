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


def is_noticed(fault: Fault, before: Seen, now: Seen) -> bool:
    """Whether the coordinator, or for a killed coordinator the command, shows signs of the fault."""
    if fault is Fault.REDIS:
        return not now.is_well or now.redis not in (None, before.redis)
    if fault is Fault.SHIM:
        return now.run.failed > before.run.failed or now.run.outcome is not None
    if fault is Fault.COORDINATOR:
        return now.coordinator != before.coordinator
    return any(
        not seen.is_online or not seen.is_linked or seen.session != before.nodes[name].session
        for name, seen in now.nodes.items()
    )


def is_recovered(fault: Fault, before: Seen, now: Seen) -> bool:
    """Whether all is as before: what was ended runs again, and the nodes are online and linked."""
    if not now.is_well or not all(seen.is_online and seen.is_linked for seen in now.nodes.values()):
        return False
    if fault is Fault.REDIS:
        return now.redis not in (None, before.redis)
    if fault is Fault.SHIM:
        return now.run.outcome is not None
    if fault is Fault.COORDINATOR:
        return now.coordinator not in (None, before.coordinator)
    if fault is Fault.AGENT:
        return all(seen.session != before.nodes[name].session for name, seen in now.nodes.items())
    return True


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
