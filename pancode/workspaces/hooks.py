"""What workspaces add to runs that were dispatched by a workspace's name."""

from __future__ import annotations

from operator import attrgetter

from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.extension import Hook, RunSeries
from pancode.runs.facts import Lineage
from pancode.runs.features import Features
from pancode.runs.request import DispatchRequest
from pancode.runs.retention.rules import FilesNeed
from pancode.runs.user_environment import Surroundings
from pancode.workspaces.records import KeptWorkspace
from pancode.workspaces.rules import join_workspace, must_go_on, open_workspaces, runs_in
from pancode.workspaces.service import in_workspace


def find_need(core: Core, tx: Transaction, run: Run) -> FilesNeed | None:
    """Return the need to keep the run's files while a workspace that has not ended uses them, or None."""
    kept = tx.get(KeptWorkspace, Lineage.of(run).in_workspace)
    return None if kept is None or kept.ended else FilesNeed.WORKSPACE


def find_series(tx: Transaction, name: str) -> RunSeries:
    """Return the workspace with this name. NotFoundError."""
    kept = tx.get(KeptWorkspace, name)
    if kept is None:
        raise not_found("workspace", name, [one.name for one in open_workspaces(tx)], "pancode workspace ls")
    return RunSeries(kept.name, kept.project)


def repeat_there(core: Core, around: Surroundings, request: DispatchRequest, later: bool) -> DispatchRequest:
    """Return the request to repeat a workspace's newest run with the files with which that run started."""
    with core.ports.ledger.transaction() as tx:
        old = tx.get(Run, request.retry_of or "")
        kept = None if old is None else tx.get(KeptWorkspace, Lineage.of(old).in_workspace)
        runs = [] if kept is None else runs_in(tx, kept)
    if old is None or kept is None or not runs or runs[-1].id != old.id:
        return request
    again = replace(request, workspace=kept.name, node=None, retry_of=None)
    return replace(again, begins=None, continues=None)


FEATURE = Features(
    complete=(
        Hook(attrgetter("repeats"), repeat_there),
        Hook(attrgetter("names_workspace"), in_workspace),
        Hook(attrgetter("continues_in_workspace"), must_go_on),
    ),
    join=(Hook(attrgetter("is_in_workspace"), join_workspace),),
    needs=(find_need,),
    series=(Hook(lambda kind: kind == "workspace", find_series),),
    tables=(KeptWorkspace,),
)
