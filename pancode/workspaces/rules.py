"""Decides how a request that names a workspace (a series of runs) continues from its newest files."""

from __future__ import annotations

import re

from node_agent.wire.identity import ATTEMPT, messages_in, turn_control_file
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.names import find_nearest, not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.facts import Lineage
from pancode.runs.features import Joining
from pancode.runs.life.conversation import find_beginning, is_blocked, list_next_runs
from pancode.runs.life.waits import LEAVES
from pancode.runs.request import FILES, TAKEN, DispatchRequest, workspace_in
from pancode.runs.unit_of_work import Work
from pancode.runs.user_environment import Surroundings
from pancode.workspaces.records import KeptWorkspace

MOST = 1_000
"""The maximum number of open workspaces, and of a workspace's newest runs that are read."""
STAY = "# A user has this workspace open."
"""The first line of the script of a run that only keeps a workspace's files on a node for a user."""
STAY_MS = 8 * 3_600_000
STAYS = f"""\
{STAY}
# What is changed here is the result of this run, and the next one in the workspace begins with it.
i=0
while [ ! -e "$HOME/{messages_in(f"${ATTEMPT}")}/{turn_control_file(*LEAVES)}" ]; do
  [ $((i % 300)) -ne 0 ] || echo "open; to leave: pancode workspace open --leave NAME"
  i=$((i + 1))
  sleep 1
done
"""
"""The script of such a run. It prints a line every five minutes, so that the watch does not consider it
stuck.

The node writes the signal to leave into the run's home and follows no link there. It is not in the tree,
where an agent may have left a link to a file of the node's owner.
"""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def workspace_name(text: str) -> str:
    """Return the text if it is a valid name for a workspace; else raise UsageError."""
    if _NAME.fullmatch(text) is None or text in FILES or text.endswith((".", ".lock")) or ".." in text:
        why = "use at most 63 lowercase letters, digits and . _ -; it is also part of a branch name"
        what = f"{text[:80]!r} is not a valid workspace name"
        raise UsageError(what, why=why, fix="choose another name", code="bad_name")
    return text


def find_workspace(tx: Transaction, name: str) -> KeptWorkspace | None:
    """Return the workspace with this name, open or ended, or None. Names are stored in lowercase."""
    return tx.get(KeptWorkspace, name.lower())


def open_workspaces(tx: Transaction) -> list[KeptWorkspace]:
    """Return all workspaces that have not ended, oldest first."""
    return tx.find(KeptWorkspace, {"ended": False}, order="created_ms")


def get_workspace_row(tx: Transaction, name: str) -> KeptWorkspace:
    """Return the workspace with this name. NotFoundError suggests the nearest name."""
    found = find_workspace(tx, name)
    if found is None:
        names = [one.name for one in open_workspaces(tx)]
        # not workspaces, but values that --workspace accepts
        names += FILES if find_nearest(name, FILES) else ()
        raise not_found("workspace", name, names, "pancode workspace ls")
    return found


def runs_in(tx: Transaction, workspace: KeptWorkspace) -> list[Run]:
    """Return the workspace's newest MOST runs, oldest first. Each continues the previous one, even if a user
    also continued that one outside the workspace."""
    found, run = list[Run](), tx.get(Run, workspace.last or workspace.first)
    while not workspace.last and run is not None and list_next_runs(run):
        run = tx.get(Run, list_next_runs(run)[-1])
    while run is not None and len(found) < MOST:
        found.append(run)
        run = None if run.id == workspace.first else tx.get(Run, Lineage.of(run).continues or "")
    return found[::-1]


def line_of(tx: Transaction, workspace: KeptWorkspace) -> list[Run]:
    """Return the workspace's runs, preceded by the run that a repair has saved, if any."""
    saved = tx.get(Run, workspace.saved) if workspace.saved else None
    return [*([] if saved is None else [saved]), *runs_in(tx, workspace)]


def at_workspace(tx: Transaction, request: DispatchRequest, later: bool = False) -> DispatchRequest:
    """Return a request that names a workspace with its node and the files of its newest run. NotFoundError;
    RefusedError while a run works there, unless it is only checked now and starts later."""
    if (name := workspace_in(request.workspace)) is None:
        return request
    workspace = get_workspace_row(tx, name)
    runs = line_of(tx, workspace)
    if not later:
        must_be_free(workspace.name, runs)
    placed = replace(
        request,
        workspace="git",
        in_workspace=workspace.name,
        project=workspace.project,
        cwd=workspace.project,
        node=request.node or workspace.node,
    )
    if not runs:
        return placed
    return replace(
        placed,
        begins=find_beginning(runs[-1]),
        continues=runs[-1].id if workspace.first else placed.continues,
    )


def is_stay(run: Run) -> bool:
    """Whether the run only keeps a workspace's files on the node until a user leaves."""
    return run.runtime == "shell" and run.task.startswith(STAY)


def stay_request(name: str, node: str | None, by: str) -> DispatchRequest:
    """Return the request for a run that keeps the workspace's files for a user. The run has only one attempt,
    as a second one would wait for a user who has left."""
    return DispatchRequest(
        task=STAYS,
        created_by=by,
        runtime="shell",
        workspace=name,
        node=node,
        timeout_ms=STAY_MS,
        attempts=1,
        verify_retries=0,
    )


def must_be_free(name: str, runs: list[Run]) -> None:
    """Raise RefusedError while a run works in the workspace or awaits an answer: only one run may write."""
    if not runs or (runs[-1].state is RunState.ENDED and not is_blocked(runs[-1])):
        return
    last = runs[-1]
    if is_blocked(last):
        why, fix = "it asked a user, and continues after the answer", f'pancode answer {last.id} "..."'
    elif last.takes_turns:
        why, fix = f"a chat with {last.agent} is open there", f"pancode sessions rest {last.id}"
    elif is_stay(last):
        why, fix = f"{last.created_by} has it open", f"pancode workspace open --leave {name}"
    else:
        why, fix = (
            f"agent {last.agent} works there",
            f"pancode runs follow {last.id}; or end it: pancode runs stop {last.id}",
        )
    raise RefusedError(f"workspace {name} is in use by {last.id}", why=why, fix=fix, code=TAKEN)


def must_be_newest(tx: Transaction, name: str, old: str) -> bool:
    """Return whether `old` is the workspace's newest run. RefusedError for an older one, as a workspace must
    remain a single series of runs."""
    kept = find_workspace(tx, name)
    runs = [run.id for run in runs_in(tx, kept)] if kept is not None else []
    if old in runs[:-1]:
        what, why = (
            f"{old} is not the newest run of workspace {name}",
            (f"the workspace's files continue in {runs[-1]}"),
        )
        fix = f"continue the newest run: pancode runs continue {runs[-1]}"
        raise RefusedError(what, why=why, fix=fix, code="already_continued")
    return old in runs


def must_go_on(core: Core, around: Surroundings, request: DispatchRequest, later: bool) -> DispatchRequest:
    """Return the request, or raise RefusedError if it continues an older run of its workspace. This is
    checked before making a snapshot, and again when the request is queued."""
    with core.ports.ledger.transaction() as tx:
        must_be_newest(tx, request.in_workspace, str(request.continues))
    return request


def join_workspace(work: Work, joining: Joining) -> Run:
    """Return the run after recording it as its workspace's newest. A run that continues one outside the
    workspace loses the workspace's name. RefusedError if another run was faster."""
    run, lineage = joining.run, Lineage.of(joining.run)
    name, old = lineage.in_workspace, lineage.continues
    if old is not None and not must_be_newest(work.tx, name, old):
        return replace(lineage, in_workspace="").on(run)
    workspace = get_workspace_row(work.tx, name)
    if old is None:
        must_be_free(name, runs_in(work.tx, workspace))
        if workspace.first:
            raise RefusedError(f"workspace {name} already has a run", fix="run the same command again")
    work.tx.put(replace(workspace, first=workspace.first or run.id, last=run.id, ended=False))
    return run
