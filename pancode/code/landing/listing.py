"""The queues of landings as rows, and the end of a landing as an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pancode.code.landing.queue import drop as drop
from pancode.code.landing.queue import repo_of, waiting, way_of
from pancode.control.core import Core
from pancode.control.run import iso, run_shape
from pancode.control.shapes import RunShape
from pancode.core.records import Run, RunState
from pancode.errors import WorkspaceError
from pancode.life.landing import CALLED_OFF, LANDED, NOTHING, WAITING
from pancode.life.verified import is_green, is_open
from pancode.work.workflow.continued import is_the_result

NEWEST = 500
"""So many ended runs are looked at where no repository is named."""
FINE = (LANDED, NOTHING, CALLED_OFF, WAITING)


def landing_rows(core: Core, under_way: Collection[str]) -> list[dict[str, Any]]:
    """Each landing that is asked for and not over, in order; `place` 0: it is its turn."""
    rows, before = [], Counter[str]()
    for action in waiting(core):
        with core.ports.ledger.transaction() as tx:
            run = tx.get(Run, action.run)
        if run is None:
            continue
        way, repo = way_of(run, action), repo_of(action)
        row = {"run": run.id, "project": run.project, "place": before[repo], "by": way.by}
        rows.append(row | {"branch": way.branch or None, "how": way.how.value if way.branch else None})
        rows[-1] |= {"since": iso(action.at_ms), "under_way": action.id in under_way}
        before[repo] += 1
    return rows


def before(core: Core, run: Run, under_way: Collection[str]) -> list[dict[str, Any]]:
    """The landings of the same repository that come before this run's, or before it if it were asked for."""
    rows = [row for row in landing_rows(core, under_way) if row["project"] == run.project]
    mine = next((number for number, row in enumerate(rows) if row["run"] == run.id), len(rows))
    return rows[:mine]


def to_review(core: Core, project: str | None) -> list[RunShape]:
    """Runs that have ended with a change on which nobody has decided; oldest first.

    `project` None: of every repository, as far as they are among the newest runs.
    """
    if project is not None:
        return _listed(core, lambda run: is_open(run, project))
    return _listed(core, lambda run: is_open(run, run.project or ""), NEWEST)


def green(core: Core, project: str) -> list[RunShape]:
    """Runs of this repository that are done, whose gates have passed, and that are not landed; oldest first.

    Left out: what another run goes on from, what lost a race or is not the result of its workflow (the last
    step that changes something has it all), what a person has denied, and what waits in the queue already.
    """
    return _listed(core, lambda run: is_green(run, project))


def _listed(core: Core, fits: Callable[[Run], bool], newest: int | None = None) -> list[RunShape]:
    queued = {action.run for action in waiting(core)}
    with core.ports.ledger.transaction() as tx:
        ended = {"state": RunState.ENDED}
        known = tx.find(Run, ended, order="created_ms", descending=newest is not None, limit=newest)
        found = [run for run in (known if newest is None else known[::-1]) if fits(run)]
        mine = [run for run in found if run.id not in queued and is_the_result(tx, run)]
        return [run_shape(core, tx, run) for run in mine]


def report_of(ended: Mapping[str, Any]) -> dict[str, Any]:
    """How a landing ended. WorkspaceError for one that was refused."""
    if ended["status"] not in FINE:
        status, why = str(ended["status"]), str(ended.get("why", ""))
        error = str(ended.get("error") or f"not landed: {status}")
        details = {"yes": " ".join(ended["yes"]), "held": str(ended["held"])} if ended.get("yes") else None
        raise WorkspaceError(
            error,
            why=why.removeprefix(f"{error}: "),
            fix=str(ended.get("fix", "")),
            code=status.replace(" ", "_"),
            details=details,
        )
    empty: dict[str, Any] = {
        "files": [],
        "conflicts": [],
        "gate": None,
        "recovered": None,
        "tree": "",
        "branch": None,
    }
    return {**empty, **ended}
