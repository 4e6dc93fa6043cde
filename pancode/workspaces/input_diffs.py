"""Which changes a run is shown as files beside its own, and how they get into its checkout."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from node_agent.policy.commands.programs import Use
from node_agent.policy.judging import judge_path
from node_agent.wire.policy import ActionClass, Policy, Rules
from pancode.agents.runtimes import RUNTIMES, canonical
from pancode.kernel.errors import PancodeError, UsageError
from pancode.kernel.names import LAST
from pancode.kernel.ports import Composition, DepotPort, SnapshotTaken
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.runs.admission.resolution import Resolution
from pancode.runs.core import Core
from pancode.runs.facets import Lineage
from pancode.runs.life.continuations import payer_of
from pancode.runs.request import Beginning
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import find_run
from pancode.workflows.step_work import FOLDER, diff_of

MOST = 4 << 20
"""How many bytes of a change are shown at most."""
NAME = "show"

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LAST = re.compile(
    rf"\b(?:last|latest|newest|previous|recent)\s+(?:(\d{{1,3}}|{'|'.join(_NUMBERS)})\s+)?commits?\b",
    re.IGNORECASE,
)
_UNCOMMITTED = re.compile(r"\buncommitted\b|\bworking (?:tree|copy)\b|\bgit diff\b", re.IGNORECASE)


def hidden_by(rules: Rules) -> Callable[[str], bool]:
    """Return whether a run under these rules may not read a file: its change would show the file."""
    policy = Policy(allowed=tuple(ActionClass), paths=rules.paths)
    return lambda name: bool(judge_path(policy, name, Use.READ).offences)


def prd_for(depot: DepotPort, around: Surroundings, project: str, begins: Beginning | None) -> str:
    """Return the PRD file's name if the run has it in its checkout and may read it; else empty. `begins`: the
    earlier result at which the run begins.
    """
    found = around.prd_for_agents(project)
    if not found or hidden_by(around.rules(project))(found):
        return ""
    there = begins is None or depot.read_file(begins.repo, begins.commit, found, MOST) is not None
    return found if there else ""


def origin_of(run: Run) -> str:
    """Return the snapshot against which the run's change is counted."""
    return Lineage.of(run).origin or str(run.workspace["snapshot"])


def change_shown(depot: DepotPort, run: Run, name: str, rules: Rules) -> dict[str, bytes]:
    """Return the change of an ended run as one file, in a workflow with the changes of earlier steps; empty:
    no change.
    """
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
) -> tuple[SnapshotTaken, str]:
    """Return the snapshot with these files added, which are in no result, and the origin of the run's
    change.
    """
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
    return with_files, made.origin


def with_shown(
    core: Core, resolved: Resolution, run: str, snapshot: SnapshotTaken
) -> tuple[SnapshotTaken, str]:
    """Return the snapshot with the change that the request names, and as `furnished` the origin; empty:
    nothing is shown. UsageError, WorkspaceError where there is none.

    An agent that only reads has no git: it is shown the change that its task names, where that exists.
    """
    wanted, depot = resolved.request.show or "", core.ports.depot
    if wanted.startswith("r-") or wanted == LAST:
        files = _of_run(core, resolved, wanted, snapshot)
    elif wanted:
        files = {diff_of(NAME): _history(depot, resolved, snapshot, wanted)}
    else:
        looks = resolved.agent.read_only and not resolved.runtime.own
        since = named_in(resolved.request.task) if looks else ""
        try:
            change = _history(depot, resolved, snapshot, since) if since else b""
        except PancodeError:
            change = b""
        files = {diff_of(NAME): change} if change.strip() else {}
    return furnished(depot, run, snapshot, files) if files else (snapshot, "")


def named_in(task: str) -> str:
    """Return the commit since which the task wants to see changes; empty: it names none."""
    if found := _LAST.search(task):
        number = (found[1] or "1").lower()
        return f"HEAD~{_NUMBERS.index(number) + 1 if number in _NUMBERS else int(number)}"
    return "HEAD" if _UNCOMMITTED.search(task) else ""


def _history(depot: DepotPort, resolved: Resolution, snapshot: SnapshotTaken, commits: str) -> bytes:
    hides = hidden_by(resolved.rules)
    return depot.shown_history(str(resolved.project), snapshot, commits, MOST, hides)


def _of_run(core: Core, resolved: Resolution, wanted: str, snapshot: SnapshotTaken) -> dict[str, bytes]:
    parent = resolved.request.parent
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, f"{LAST}@{resolved.project}" if wanted == LAST else wanted)
        asker = None if parent is None else tx.get(Run, parent)
    session = "" if asker is None else payer_of(asker)
    is_its_own = asker is None or run.parent == asker.id or (session and payer_of(run) == session)
    if run.workspace.get("repo") != snapshot.repo or not is_its_own:
        raise UsageError(f"{run.id} is no run of this repository that can be shown here", code="bad_value")
    files = change_shown(core.ports.depot, run, NAME, resolved.rules)
    if not files:
        raise UsageError(
            f"{run.id} has no change to show", fix=f"look: pancode runs show {run.id}", code="bad_value"
        )
    return files


def told_of(run: Run, origin: str) -> Run:
    """Return the run with this origin; its task says where the change is, but a script's stays as it is."""
    if not origin:
        return run
    where = f"\n\n(The change that you are to look at is in {diff_of(NAME)}.)"
    task = run.task if RUNTIMES[canonical(run.runtime)].own else f"{run.task}{where}"
    return replace(replace(Lineage.of(run), origin=origin).on(run), task=task)
