"""Creates, lists, shows, repairs and removes workspaces for users, without losing work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.agents.runtimes import OUR_OWN, RUNTIMES, resolve_alias
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import ConflictError, NotFoundError, RefusedError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.ports import ResultPlace, Transaction
from pancode.kernel.records import Node, Run, RunState
from pancode.kernel.signature_check import fresh_secret
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.dispatch import dispatch_run
from pancode.runs.life.case import RunStage, stage_of
from pancode.runs.life.conversation import has_change, select_undelivered
from pancode.runs.life.ends import Stop
from pancode.runs.life.jobs import identity_of
from pancode.runs.life.waits import LeftWorkspace
from pancode.runs.receipts.trust import final_commit
from pancode.runs.request import DispatchRequest
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import format_optional_iso, newest_lease, node_of, session_of, words_of
from pancode.workspaces.answers import (
    OpenedShape,
    WorkspaceAnswer,
    WorkspaceProblem,
    WorkspaceRun,
    WorkspaceShape,
)
from pancode.workspaces.records import KeptWorkspace
from pancode.workspaces.rules import (
    MOST,
    at_workspace,
    find_workspace,
    get_workspace_row,
    is_stay,
    line_of,
    must_be_free,
    open_workspaces,
    stay_request,
    workspace_name,
)

ANY = "any"
"""The value that means any free node, instead of a node's name."""
MOST_ENDED = 100
"""How many of the newest ended workspaces are listed in addition to the open ones."""
MEASURED = 20
"""For how many of the most recently used workspaces a list counts commits, as git runs for each."""


def in_workspace(
    core: Core, around: Surroundings, request: DispatchRequest, later: bool = False
) -> DispatchRequest:
    """Return the request with the files of the workspace that it names. NotFoundError if its repository is
    missing, as the gates would be too. `later`: the request is only checked now and starts later."""
    with core.ports.ledger.transaction() as tx:
        placed = at_workspace(tx, request, later)
        last = tx.get(Run, placed.continues) if placed.in_workspace and placed.continues else None
        left = [] if last is None else select_undelivered(words_of(tx, last))
    if placed.in_workspace and around.project_of(str(placed.project)) != placed.project:
        raise moved_repository_error(placed.in_workspace, str(placed.project))
    runtime = resolve_alias(placed.runtime or around.defaults(placed.project).runtime or OUR_OWN)
    if last is None or placed.argv is not None or runtime not in RUNTIMES or RUNTIMES[runtime].own:
        return placed  # Messages cannot be added to a script.
    words = (placed.task, *(f"A user adds: {one.text}" for one in left))
    return replace(placed, task="\n\n".join(words))


def moved_repository_error(name: str, path: str) -> NotFoundError:
    fix = f"pancode workspace repair {name} --repository PATH"
    what = f"the repository of workspace {name} has moved or was removed"
    return NotFoundError(what, why=f"{path} is not a git repository", fix=fix, code="project_moved")


def branch_for(name: str, title: str) -> str:
    """Return a branch name such as `feature/min-123-add-login`."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-")
    return f"feature/{name}{f'-{words}' if words else ''}"


def create_workspace(core: Core, workspace: KeptWorkspace) -> None:
    """Create the workspace. ConflictError if its name is taken, NotFoundError for an unknown node."""
    workspace_name(workspace.name)
    with unit_of_work(core) as work:
        there = find_workspace(work.tx, workspace.name)
        if there is not None:
            raise ConflictError(
                f"workspace {workspace.name} already exists",
                why=f"its repository is {there.project}{' and its issue is closed' if there.ended else ''}",
                fix=f'pancode dispatch --workspace {workspace.name} "...", or choose another name',
                code="name_taken",
            )
        if len(open_workspaces(work.tx)) >= MOST:
            raise UsageError(
                f"the fleet already has the maximum of {MOST} workspaces", fix="pancode workspace rm NAME"
            )
        _must_be_a_node(work.tx, workspace.node)
        work.tx.put(workspace)
        work.audit("people", "info", "workspace created", None, by=workspace.created_by, name=workspace.name)


def create_if_missing(core: Core, name: str, project: str, title: str, node: str | None, by: str) -> None:
    """Create the workspace if missing. ConflictError if a workspace of another repository has its name."""
    with core.ports.ledger.transaction() as tx:
        there = find_workspace(tx, name)
    if there is None:
        create_workspace(
            core, KeptWorkspace(name, project, branch_for(name, title), node, core.wall_ms(), by)
        )
    elif there.project != project:
        raise ConflictError(
            f"workspace {name} belongs to another repository",
            why=there.project,
            fix=f"pancode workspace rm {name}",
            code="name_taken",
        )


def _must_be_a_node(tx: Transaction, name: str | None) -> None:
    if name is not None and tx.get(Node, name) is None:
        raise not_found("node", name, [node.name for node in tx.find(Node)], "pancode node ls")


def list_workspaces(core: Core, measured: bool = False) -> list[WorkspaceShape]:
    """Return all open workspaces and the newest ended ones, the most recently used first. `measured`: with
    counts of commits for the first MEASURED."""
    with core.ports.ledger.transaction() as tx:
        ended = tx.find(KeptWorkspace, {"ended": True}, order="created_ms", descending=True, limit=MOST_ENDED)
        kept = [*open_workspaces(tx), *ended]
        lines = {one.name: line_of(tx, one) for one in kept}
        found = [_shape(core, tx, one, lines[one.name]) for one in kept]
    found.sort(key=lambda one: str(one["used_at"] or one["created_at"]), reverse=True)
    for one in found[: MEASURED if measured else 0]:
        _measure(core, one, lines[one["workspace"]])
    return found


def _measure(core: Core, shape: WorkspaceShape, runs: list[Run]) -> None:
    """Add the numbers of commits ahead and behind to the shape, outside any transaction, as git is slow."""
    commit = shape["commit"]
    if commit is None:
        return
    landed = next((run for run in reversed(runs) if run.landed is not None), None)
    since = runs[0].workspace.get("snapshot") if landed is None else final_commit(landed)
    place, base = runs[-1].workspace, runs[-1].workspace.get("base")
    result = ResultPlace(str(place["repo"]), commit, None if base is None else str(base), str(since))
    shape["ahead"], shape["behind"] = core.ports.depot.ahead_and_behind(shape["project"], result)


def get_workspace(core: Core, around: Surroundings, name: str, measured: bool = False) -> WorkspaceAnswer:
    """Return one workspace with its runs and problems. `measured`: with its counts of commits."""
    with core.ports.ledger.transaction() as tx:
        workspace = get_workspace_row(tx, name)
        runs = line_of(tx, workspace)
        shape = _shape(core, tx, workspace, runs)
        node = _bound_to(tx, workspace)
        opened = _describe_opened(tx, runs[-1]) if runs else None
        rows: list[WorkspaceRun] = []
        for run in runs:
            talk = session_of(tx, run)
            open_ = talk is not None and talk.run == run.id and talk.closed_by is None
            rows.append(
                {
                    "run": run.id,
                    "task": run.task,
                    "outcome": _end(run),
                    "landed": run.landed,
                    "talk": run.session if open_ else None,
                }
            )
    if measured:
        _measure(core, shape, runs)
    problems = _list_problems(core, around, workspace, node, _find_loss(core, runs))
    return {**shape, "runs": rows, "problems": problems, "opened": opened}


def _describe_opened(tx: Transaction, run: Run) -> OpenedShape | None:
    if not is_stay(run) or run.state is RunState.ENDED:
        return None
    there: OpenedShape = {"run": run.id, "by": run.created_by, "node": None, "folder": None}
    lease = newest_lease(tx, run)
    node = None if lease is None else tx.get(Node, lease.node)
    if lease is None or node is None or stage_of(run, lease) is not RunStage.RUNNING:
        return there
    folder = f"{node.target.get('installed_home')}/work/{identity_of(lease)}/tree"
    return {**there, "node": node.name, "folder": folder}


def open_for(core: Core, around: Surroundings, name: str, by: str, node: str | None) -> None:
    """Start a run that keeps the workspace's files on a node for this user, unless such a run exists.
    RefusedError while an agent works in the workspace, as only one run may write to it at a time."""
    with core.ports.ledger.transaction() as tx:
        runs = line_of(tx, get_workspace_row(tx, name))
    if runs and is_stay(runs[-1]) and runs[-1].state is not RunState.ENDED:
        return
    dispatch_run(core, around, stay_request(name, node, by))


def end_open_run(core: Core, name: str, by: str) -> None:
    """End the run that keeps the workspace's files for a user; the changes made there are its result.
    UsageError if no user has the workspace open. A run whose files have not arrived yet is stopped."""
    with unit_of_work(core) as work:
        runs = line_of(work.tx, get_workspace_row(work.tx, name))
        if not runs or not is_stay(runs[-1]) or runs[-1].state is RunState.ENDED:
            fix = f"pancode workspace show {name}"
            raise UsageError(f"workspace {name} is not open", fix=fix, code="not_open")
        there = stage_of(runs[-1], newest_lease(work.tx, runs[-1])) is RunStage.RUNNING
        work.signal(runs[-1], LeftWorkspace(by) if there else Stop(f"{by} has left the workspace"))


@dataclass(frozen=True, slots=True)
class _Loss:
    """The loss of the newest run's files from the depot. `saved`: the newest run whose result is still
    stored, or None."""

    run: str
    saved: str | None


def _bound_to(tx: Transaction, workspace: KeptWorkspace) -> Node | None:
    """Return the node to which the workspace is bound; None if it is not bound or that node is unknown."""
    return None if workspace.node is None else tx.get(Node, workspace.node)


def _explain_lost_node(core: Core, workspace: KeptWorkspace, node: Node | None) -> str:
    """Return why no run can start on the workspace's node; empty if one can or it has no fixed node."""
    if workspace.node is None:
        return ""
    if node is None or node.removed is not None:
        return f"its node {workspace.node} has left the fleet"
    heartbeat = core.view_of(node).last
    shut = None if heartbeat is None else heartbeat.heartbeat.facts.shut
    return "" if shut is None else f"its node {workspace.node} accepts no work: {shut.what}"


def _list_problems(
    core: Core, around: Surroundings, workspace: KeptWorkspace, node: Node | None, loss: _Loss | None
) -> list[WorkspaceProblem]:
    command, found = f"pancode workspace repair {workspace.name}", list[WorkspaceProblem]()
    if around.project_of(workspace.project) != workspace.project:
        what = f"its repository is no longer at {workspace.project}: it was moved, or its .git was removed"
        found.append({"what": what, "fix": f"{command} --repository PATH", "does": ""})
    if what := _explain_lost_node(core, workspace, node):
        does = "its next run begins on any free node"
        found.append({"what": what, "fix": f"{command} --node NODE", "does": does})
    if loss is not None:
        what = f"the files of its newest run {loss.run} are no longer in the coordinator's depot"
        begin = "with the files of its repository" if loss.saved is None else f"with those of {loss.saved}"
        does = f"its next run begins {begin}; later runs stay in the lists, but without their files"
        found.append({"what": what, "fix": command, "does": does})
    return found


def _is_there(core: Core, run: Run) -> bool:
    """Whether the depot has the run's final files or, without a result, those with which it started."""
    repo, commit = run.workspace.get("repo"), final_commit(run) or run.workspace.get("snapshot")
    return repo is None or commit is None or core.ports.depot.has_commit(str(repo), str(commit))


def _find_loss(core: Core, runs: list[Run]) -> _Loss | None:
    """Check with git whether the files with which the next run would start are lost. None if they exist, or
    if a run is active and no check is needed."""
    if not runs or runs[-1].state is not RunState.ENDED or _is_there(core, runs[-1]):
        return None
    there = (run.id for run in reversed(runs) if final_commit(run) is not None and _is_there(core, run))
    return _Loss(runs[-1].id, next(there, None))


def _end(run: Run) -> str:
    return str(run.outcome or run.state)


def _shape(core: Core, tx: Transaction, workspace: KeptWorkspace, runs: list[Run]) -> WorkspaceShape:
    last = runs[-1] if runs else None
    works = last is not None and last.state is not RunState.ENDED
    lost = last is not None and last.outcome is Outcome.LOST
    files = sorted({name for run in _select_unlanded(runs) for name in _list_files(run)})
    return make_answer(
        WorkspaceShape,
        workspace,
        workspace=workspace.name,
        used_at=None if last is None else format_optional_iso(last.finished_ms or last.created_ms),
        count=len(runs),
        last=None if last is None else last.id,
        outcome=None if last is None else _end(last),
        agent=last.agent if last is not None and works else None,
        at_node=None if last is None else node_of(tx, last),
        files=files,
        dirty=None if works or lost else len(files),
        size=_measure_size(core, tx, last) if last is not None and works else None,
        commit=None if last is None else final_commit(last),
        ahead=None,
        behind=None,
    )


def _measure_size(core: Core, tx: Transaction, run: Run) -> int | None:
    lease = newest_lease(tx, run)
    node = None if lease is None else tx.get(Node, lease.node)
    heartbeat = None if node is None else core.view_of(node).last
    if lease is None or heartbeat is None:
        return None
    folder, room = f"work/{identity_of(lease)}", heartbeat.heartbeat.facts.room
    return next((one.bytes for one in room if one.what == folder), None)


def _list_files(run: Run) -> list[str]:
    result: dict[str, Any] = run.result
    return list(result.get("files_changed") or ())


def _select_unlanded(runs: list[Run]) -> list[Run]:
    """Return the newest runs that have not landed; a landing includes the changes of earlier runs."""
    found: list[Run] = []
    for run in reversed(runs):
        if run.landed is not None:
            break
        found.append(run)
    return found if any(has_change(run) for run in found) else []


def remove_workspace(core: Core, name: str, by: str, force: bool) -> Mapping[str, Any]:
    """Remove the workspace. RefusedError while it is in use, and for unlanded work unless `force`. Its runs
    are kept: their results stay in the coordinator's depot."""
    with unit_of_work(core) as work:
        workspace = get_workspace_row(work.tx, name)
        runs = line_of(work.tx, workspace)
        if runs and runs[-1].state is not RunState.ENDED:
            must_be_free(name, runs)
        shape = _shape(core, work.tx, workspace, runs)
        left, is_known = shape["files"], shape["dirty"] is not None
        if (left or not is_known) and not force:
            raise _unlanded_error(name, runs[-1].id, workspace.branch, left, is_known)
        work.tx.delete(KeptWorkspace, name)
        work.audit("people", "info", "workspace removed", None, by=by, name=name, unlanded=left[:20])
    return {"removed": name, "kept": runs[-1].id if left else None}


def _unlanded_error(name: str, run: str, branch: str, files: list[str], is_known: bool) -> RefusedError:
    shown = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
    if is_known:
        what, why = "has work that has not landed", f"{run} and those before it changed {shown}"
        first = f"pancode land {run} --branch {branch}"
    else:
        what, why = "may have work that was lost", f"its newest run {run} was lost, with its changes"
        first = f"pancode recover {run}"
    fix = f"{first}; or remove the workspace anyway: --force"
    return RefusedError(f"workspace {name} {what}", why=why, fix=fix, code="unlanded")


def repair_workspace(
    core: Core, around: Surroundings, name: str, by: str, project: str | None, node: str | None
) -> None:
    """Set the workspace's repository path or node (`any`: any node), and repair what can be repaired without
    them. UsageError if there is nothing to do.

    Nothing is deleted: runs whose files were lost stay in the lists.
    """
    with core.ports.ledger.transaction() as tx:
        workspace = get_workspace_row(tx, name)
        runs, bound = line_of(tx, workspace), _bound_to(tx, workspace)
    loss = _find_loss(core, runs)
    found = _list_problems(core, around, workspace, bound, loss)
    if project is None and node is None and not any(one["does"] for one in found):
        what, why = (
            (f"nothing in workspace {name} can be repaired automatically"),
            "".join(one["what"] for one in found),
        )
        fix = found[0]["fix"] if found else f"pancode workspace show {name}"
        raise UsageError(what, why=why, fix=fix, code="nothing_to_repair")
    with unit_of_work(core) as work:
        workspace = get_workspace_row(work.tx, name)
        if loss is not None and line_of(work.tx, workspace)[-1].state is not RunState.ENDED:
            must_be_free(name, line_of(work.tx, workspace))
        if node is not None or _explain_lost_node(core, workspace, bound):
            _must_be_a_node(work.tx, None if node == ANY else node)
            workspace = replace(workspace, node=None if node == ANY else node)
        if loss is not None:
            workspace = replace(workspace, first="", last="", saved=loss.saved or "")
        workspace = replace(workspace, project=project or workspace.project)
        work.tx.put(workspace)
        more = {} if loss is None else {"lost": loss.run, "saved": workspace.saved}
        work.audit("people", "info", "workspace changed", None, by=by, name=name, **more)


def tracker_secret(core: Core, project: str, by: str, given: str | None) -> str:
    """Store and return the secret with which a project's tracker signs, the given one or a new one; record
    this in the audit."""
    with unit_of_work(core) as work:
        work.audit("trust", "info", "secret of a tracker's webhook", None, by=by, project=project)
    return given or fresh_secret(core.ports.ids)
