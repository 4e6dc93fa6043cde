"""Finds the run that a person's text names: an id, the beginning of one, `last` or `running`."""

from __future__ import annotations

from pancode.control.core import Core
from pancode.core.names import LAST, RUNNING, pick_run
from pancode.core.ports import Transaction
from pancode.core.records import Run, RunState
from pancode.errors import NotFoundError

_NEAR, _SHOWN = 200, 8
_PAGES = (20, 2_000)
"""So many of the newest runs are looked at, one after the other."""


def find(core: Core, text: str, *, to_land: bool = False) -> Run:
    """As `find_run`, for a caller without a transaction."""
    with core.ports.ledger.transaction() as tx:
        return find_run(tx, text, to_land=to_land)


def find_run(tx: Transaction, text: str, *, to_land: bool = False) -> Run:
    """The run that an id, an unambiguous prefix, `last` or `running` names; `last@FOLDER`: from there.

    `to_land`: a run without a repository is not the last one.
    NotFoundError with the nearest id, UsageError that lists the candidates.
    """
    exact = tx.get(Run, text)
    if exact is not None:
        return exact
    if text == RUNNING:
        return _running(tx)
    last, _, folder = text.partition("@")
    if last == LAST:
        return _last(tx, folder, to_land) or _picked(tx, LAST, [])
    prefix = text if text.startswith("r-") else f"r-{text}"
    ids = [str(key[0]) for key in tx.starting(Run, prefix, 20)] if text else []
    if not ids:  # only the nearest name is still looked for
        ids = [run.id for run in tx.find(Run, order="created_ms", descending=True, limit=_NEAR)]
    return _picked(tx, text, ids)


def _last(tx: Transaction, folder: str, to_land: bool) -> Run | None:
    """The newest that is of no other repository, where the one around the folder has runs; else of the fleet.

    A run without a repository counts everywhere. Left out: the runs of gates, which nobody has asked for.
    """
    asked: list[Run] = []
    for most in _PAGES if folder else _PAGES[:1]:
        newest = tx.find(Run, order="created_ms", descending=True, limit=most)
        asked = sorted(newest, key=lambda run: run.judges is not None)
        here = [run for run in asked if (is_in(folder, run.project) if run.project else not to_land)]
        if any(run.project for run in here) and here[0].judges is None:
            return here[0]
        if len(newest) < most:
            break
    return asked[0] if asked else None


def is_in(folder: str, project: str) -> bool:
    """Whether this folder is the top of that repository, or below it."""
    return f"{folder}/".startswith(f"{project}/")


def _running(tx: Transaction) -> Run:
    """The one that was started last; NotFoundError that names the other runs."""
    found = tx.find(Run, {"state": RunState.RUNNING})
    if found:
        return max(found, key=lambda run: (run.started_ms or 0, run.created_ms))
    others = (RunState.INTERRUPTING, RunState.COLLECTING, RunState.PENDING)
    there = [run for state in others for run in tx.find(Run, {"state": state}, limit=_SHOWN)][:_SHOWN]
    why = "; ".join(f"{run.id} is {run.state}: {run.reason}" for run in there)
    fix = "name the one that is meant: pancode runs stop RUN" if there else "pancode runs"
    raise NotFoundError("no run is running", why=why, fix=fix, code="run_not_found")


def _picked(tx: Transaction, text: str, ids: list[str]) -> Run:
    found = tx.get(Run, pick_run(text, ids))
    assert found is not None  # its id was read in this very transaction
    return found
