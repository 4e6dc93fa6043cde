"""Decides what of an ended run may go: its commits and its logs, once nobody needs them and they are old."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pancode.kernel.records import Run
from pancode.runs.retention.parts import RunFiles

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class KeepRules:
    """How long the files of a run stay after its end, in milliseconds.

    `undecided_ms`: commits that nobody has landed, denied or dropped; None: until somebody has.
    `sessions_ms`: a session unused for so long counts as ended. `logs_bytes`: the most bytes of all logs;
    beyond it the oldest go, of those that may go at all.
    """

    changes_ms: int = 30 * DAY_MS
    logs_ms: int = 90 * DAY_MS
    undecided_ms: int | None = None
    sessions_ms: int = 90 * DAY_MS
    logs_bytes: int = 20 << 30


class FilesNeed(StrEnum):
    """Why the files of a run stay, whatever their age; but for its end and its session, features say so."""

    AT_WORK = "it has not ended"
    SESSION = "its session was neither ended nor left for long: pancode sessions end"
    WORKFLOW = "its workflow continues"
    WORKSPACE = "a workspace stands on it: pancode workspace rm"
    LANDING = "it waits to be landed"
    DECISION = "nobody has decided about its change: pancode review"


def let_go(run: Run, need: FilesNeed | None, rules: KeepRules, now_ms: int) -> frozenset[RunFiles]:
    """Which files of the run may go now."""
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
    """When the run ended, if its files may go once they are old; None: they stay, whatever their age."""
    return run.finished_ms if need in (None, FilesNeed.DECISION) else None


@dataclass(frozen=True, slots=True)
class LogsOfRun:
    """The logs of a run that are still young enough to stay. `ended_ms` None: they stay whatever happens."""

    run: str
    size: int
    ended_ms: int | None


def select_excess(logs: Iterable[LogsOfRun], most: int) -> list[str]:
    """The runs whose logs must go, oldest first, so that at most `most` bytes of logs are left."""
    known = list(logs)
    over, going = sum(one.size for one in known) - most, list[str]()
    for one in sorted(known, key=lambda one: one.ended_ms or 0):
        if over > 0 and one.ended_ms is not None:
            going.append(one.run)
            over -= one.size
    return going
