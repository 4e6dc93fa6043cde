"""Decides which commits and logs of an ended run may be pruned: old ones that nothing needs any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pancode.kernel.records import Run
from pancode.runs.retention.parts import RunFiles

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class KeepRules:
    """How long the files of a run are kept after its end, in milliseconds.

    `undecided_ms`: for commits not landed, denied or dropped; None: until a user decides. `sessions_ms`: a
    session unused for this long counts as ended. `logs_bytes`: the maximum size of all logs; beyond it the
    oldest prunable logs are deleted.
    """

    changes_ms: int = 30 * DAY_MS
    logs_ms: int = 90 * DAY_MS
    undecided_ms: int | None = None
    sessions_ms: int = 90 * DAY_MS
    logs_bytes: int = 20 << 30


class FilesNeed(StrEnum):
    """A reason to keep the files of a run, whatever their age; features supply all reasons except "not ended"
    and "session in use"."""

    AT_WORK = "it has not ended"
    SESSION = "its session was not ended and was used recently: pancode sessions end"
    WORKFLOW = "its workflow continues"
    WORKSPACE = "a workspace uses it: pancode workspace ls, pancode workspace rm NAME"
    LANDING = "it waits to be landed"
    DECISION = "its change waits for a decision: pancode inbox review"


def select_prunable(run: Run, need: FilesNeed | None, rules: KeepRules, now_ms: int) -> frozenset[RunFiles]:
    """Return which files of the run may be pruned now."""
    ended_ms = may_go_at_ms(run, need)
    if ended_ms is None:
        return frozenset()
    age = now_ms - ended_ms
    changes = rules.changes_ms if need is None else rules.undecided_ms
    going = {RunFiles.CHANGES} if changes is not None and age >= changes else set()
    if age >= rules.logs_ms and (need is None or going):
        going.add(RunFiles.LOGS)
    return frozenset(going)


def may_go_at_ms(run: Run, need: FilesNeed | None) -> int | None:
    """Return the run's end time if its files may be pruned once old enough; None if they must be kept."""
    return run.finished_ms if need in (None, FilesNeed.DECISION) else None


@dataclass(frozen=True, slots=True)
class LogsOfRun:
    """A run's logs that are not yet old enough to be pruned; `ended_ms` None: they are never pruned."""

    run: str
    size: int
    ended_ms: int | None


def select_excess(logs: Iterable[LogsOfRun], most: int) -> list[str]:
    """Return the ids of the runs whose logs must be pruned, oldest first, to leave at most `most` bytes of
    logs."""
    known = list(logs)
    over, going = sum(one.size for one in known) - most, list[str]()
    for one in sorted(known, key=lambda one: one.ended_ms or 0):
        if over > 0 and one.ended_ms is not None:
            going.append(one.run)
            over -= one.size
    return going
