"""Finds the run that a person's text names: an id, the beginning of one, `last` or `running`."""

from __future__ import annotations

from pancode.domain.names import LAST, RUNNING, pick_run
from pancode.domain.records import Run, RunState
from pancode.errors import NotFoundError
from pancode.ports import Transaction

_NEAR, _SHOWN = 200, 8


def find_run(tx: Transaction, text: str) -> Run:
    """The run that an id, an unambiguous prefix, `last` or `running` names.

    NotFoundError with the nearest id, UsageError that lists the candidates.
    """
    exact = tx.get(Run, text)
    if exact is not None:
        return exact
    if text == RUNNING:
        return _running(tx)
    if text == LAST:
        newest_run = tx.find(Run, order="created_ms", descending=True, limit=1)
        return newest_run[0] if newest_run else _picked(tx, text, [])
    prefix = text if text.startswith("r-") else f"r-{text}"
    ids = [str(key[0]) for key in tx.starting(Run, prefix, 20)] if text else []
    if not ids:  # only the nearest name is still looked for
        ids = [run.id for run in tx.find(Run, order="created_ms", descending=True, limit=_NEAR)]
    return _picked(tx, text, ids)


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
