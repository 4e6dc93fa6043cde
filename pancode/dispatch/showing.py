"""Which changes a run is shown as files beside its own, and how they get into its checkout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from node_agent.policy.commands.programs import Use
from node_agent.policy.judging import judge_path
from node_agent.wire.policy import ActionClass, Policy, Rules
from pancode.agents.runtimes import RUNTIMES, canonical
from pancode.control.core import Core
from pancode.control.run import find_run
from pancode.core.names import LAST
from pancode.core.ports import Composition, DepotPort, SnapshotTaken
from pancode.core.records import Run, RunTerms
from pancode.core.values import replace
from pancode.dispatch.resolve import Resolution
from pancode.errors import UsageError
from pancode.workflow.step_work import FOLDER, diff_of

MOST = 4 << 20
"""Bytes of a change that are shown."""
NAME = "show"
NOTHING_SHOWN = RunTerms()


def hidden_by(rules: Rules) -> Callable[[str], bool]:
    """Whether a run under these rules may not read a file. What shows a change of it would show the file."""
    policy = Policy(allowed=tuple(ActionClass), paths=rules.paths)
    return lambda name: bool(judge_path(policy, name, Use.READ).offences)


def origin_of(run: Run) -> str:
    """The snapshot from which the change of its result is counted."""
    return str(run.terms.get("origin") or run.workspace["snapshot"])


def change_shown(depot: DepotPort, run: Run, name: str, rules: Rules) -> dict[str, bytes]:
    """The change of an ended run as a file of this name, in a workflow with what earlier steps had changed;
    nothing where it has changed nothing."""
    commit = run.result.get("commit")
    if not isinstance(commit, str):
        return {}
    repo = str(run.workspace["repo"])
    patch = depot.shown_change(repo, origin_of(run), commit, MOST, hidden_by(rules))
    return {diff_of(name): patch} if patch else {}


def furnished(
    depot: DepotPort,
    run: str,
    snapshot: SnapshotTaken,
    files: Mapping[str, bytes],
    without: tuple[str, ...] = (),
) -> tuple[SnapshotTaken, RunTerms]:
    """The snapshot with files that are in no result, and the run's terms about it."""
    wanted = Composition(
        repo=snapshot.repo,
        run=run,
        base=snapshot.base,
        origin=snapshot.snapshot,
        results={},
        files=files,
        folder=FOLDER,
        without=without,
    )
    made = depot.compose(wanted)
    with_files = replace(snapshot, snapshot=made.snapshot)
    depot.begin_at(run, with_files)
    return with_files, {"origin": made.origin}


def with_shown(
    core: Core, resolved: Resolution, run: str, snapshot: SnapshotTaken
) -> tuple[SnapshotTaken, RunTerms]:
    """The snapshot with the change that the request names. UsageError, WorkspaceError where there is none."""
    wanted, depot = resolved.request.show, core.ports.depot
    if not wanted:
        return snapshot, {}
    if wanted.startswith("r-") or wanted == LAST:
        files = _of_run(core, resolved, wanted, snapshot)
    else:
        hides = hidden_by(resolved.rules)
        files = {diff_of(NAME): depot.shown_history(str(resolved.project), snapshot, wanted, MOST, hides)}
    return furnished(depot, run, snapshot, files)


def _of_run(core: Core, resolved: Resolution, wanted: str, snapshot: SnapshotTaken) -> dict[str, bytes]:
    parent = resolved.request.parent
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, f"{LAST}@{resolved.project}" if wanted == LAST else wanted)
    if run.workspace.get("repo") != snapshot.repo or (parent is not None and run.parent != parent):
        raise UsageError(f"{run.id} is no run of this repository that can be shown here", code="bad_value")
    files = change_shown(core.ports.depot, run, NAME, resolved.rules)
    if not files:
        raise UsageError(
            f"{run.id} has no change to show", fix=f"look: pancode runs show {run.id}", code="bad_value"
        )
    return files


def told_of(run: Run, terms: RunTerms) -> Run:
    """The run that is shown something; its task says where that is, unless it is a script."""
    if not terms:
        return run
    where = f"\n\n(The change that you are to look at is in {diff_of(NAME)}.)"
    task = run.task if RUNTIMES[canonical(run.runtime)].own else f"{run.task}{where}"
    return replace(run, task=task, terms=cast("RunTerms", {**run.terms, **terms}))
