"""Names a run's files on the coordinator's disk, and records when they were pruned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from pancode.kernel.errors import WorkspaceError
from pancode.kernel.records import Run
from pancode.kernel.rows import Facet


class RunFiles(StrEnum):
    """The files retained for a run, in addition to its rows and its receipt, which always stay."""

    CHANGES = "changes"
    """The run's commits in the depot: the one where it began, and its result."""
    LOGS = "logs"


@dataclass(frozen=True, slots=True)
class LetGo(Facet):
    """The kinds of files of a run that were pruned because of their age, each with the time of pruning."""

    let_go: Mapping[str, int] = field(default_factory=dict)
    """When files were pruned, as wall time in milliseconds, by kind of files (RunFiles)."""
    files_lost: bool = False
    """Whether they were lost when the ledger was restored, and not pruned."""


def gone_at(run: Run, what: RunFiles) -> int | None:
    """Return when these files of the run were pruned, as wall time in milliseconds; None if they were not."""
    return LetGo.of(run).let_go.get(what.value)


def must_have_changes(run: Run) -> None:
    """Raise WorkspaceError `files_gone` if the run's commits were pruned."""
    gone = gone_at(run, RunFiles.CHANGES)
    if gone is not None:
        day = datetime.fromtimestamp(gone / 1000, UTC).date()
        why = f"they were deleted on {day} by the retention setting keep.changes, as nothing needed them"
        if LetGo.of(run).files_lost:
            why = f"the ledger was restored on {day} from a copy without them, and no node has them any more"
        raise WorkspaceError(
            f"the files of {run.id} were deleted",
            why=why,
            fix=f"its receipt and answer are still stored: pancode receipt show {run.id}; pancode runs show "
            f"{run.id}",
            code="files_gone",
        )
