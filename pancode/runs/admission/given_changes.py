"""Adds changes of other runs, as diff files, to the checkout of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from node_agent.policy.commands.programs import Use
from node_agent.policy.judging import judge_path
from node_agent.wire.policy import ActionClass, Policy, Rules
from pancode.kernel.errors import PancodeError, UsageError
from pancode.kernel.names import LAST
from pancode.kernel.ports import Composition, DepotPort, SnapshotTaken
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.runs.admission.plan import LaidInput, Plan
from pancode.runs.core import Core
from pancode.runs.facts import Lineage
from pancode.runs.life.conversation import payer_of
from pancode.runs.request import NO_PARTS, DispatchRequest, PromptParts
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import find_run

FOLDER = ".pancode/inputs"
"""The folder for the input files of a step, which no change includes."""
MOST = 4 << 20
"""How many bytes of a change are included at most."""
NAME = "show"
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LAST = re.compile(
    rf"\b(?:last|latest|newest|previous|recent)\s+(?:(\d{{1,3}}|{'|'.join(_NUMBERS)})\s+)?commits?\b",
    re.IGNORECASE,
)
_UNCOMMITTED = re.compile(r"\buncommitted\b|\bworking (?:tree|copy)\b|\bgit diff\b", re.IGNORECASE)


def file_of(step: str) -> str:
    return f"{FOLDER}/{step}.md"


def diff_of(step: str) -> str:
    return f"{FOLDER}/{step}.diff"


def hidden_by(rules: Rules) -> Callable[[str], bool]:
    """Return a function that tells whether the rules forbid reading a file, which hides its change, too."""
    policy = Policy(allowed=tuple(ActionClass), paths=rules.paths)
    return lambda name: bool(judge_path(policy, name, Use.READ).offences)


def give_prd(
    core: Core, around: Surroundings, request: DispatchRequest, skills: tuple[str, ...]
) -> PromptParts:
    """Return the PRD file's name for the prompt, if the run has the file in its checkout and may read it."""
    project, begins = request.repository, request.begins
    found = "" if project is None else around.prd_for_agents(project)
    if not found or hidden_by(around.rules(project))(found):
        return NO_PARTS
    depot = core.ports.depot
    there = begins is None or depot.read_file(begins.repo, begins.commit, found, MOST) is not None
    return PromptParts(prd=found) if there else NO_PARTS


def origin_of(run: Run) -> str:
    """Return the commit of the snapshot on which the run's change is based."""
    return Lineage.of(run).origin or str(run.workspace["snapshot"])


def change_shown(depot: DepotPort, run: Run, name: str, rules: Rules) -> dict[str, bytes]:
    """Return an ended run's change as one file, in a workflow with those of earlier steps; empty: none."""
    commit = run.result.get("commit")
    if not isinstance(commit, str):
        return {}
    repo = str(run.workspace["repo"])
    patch = depot.shown_change(repo, origin_of(run), commit, MOST, hidden_by(rules))
    return {diff_of(name): patch} if patch else {}


def lay_files(
    depot: DepotPort,
    run: str,
    snapshot: SnapshotTaken,
    files: Mapping[str, bytes],
    without: tuple[str, ...] = (),
) -> LaidInput:
    """Return the snapshot with these files added; the files are part of no result."""
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
    return LaidInput(with_files, made.origin)


def show_change(core: Core, plan: Plan, run: str) -> LaidInput | None:
    """Add the change that the request names, as a file. UsageError or WorkspaceError if it does not exist. A
    read-only agent has no git, so it also gets the change that its task mentions, if that exists."""
    wanted, depot, snapshot = plan.request.show or "", core.ports.depot, plan.snapshot
    if snapshot is None:
        return None
    if wanted.startswith("r-") or wanted == LAST:
        files = _of_run(core, plan, wanted, snapshot)
    elif wanted:
        files = {diff_of(NAME): _read_history(depot, plan, snapshot, wanted)}
    else:
        since = named_in(plan.request.task)
        try:
            change = _read_history(depot, plan, snapshot, since) if since else b""
        except PancodeError:
            change = b""
        files = {diff_of(NAME): change} if change.strip() else {}
    if not files:
        return None
    # A script's task remains unchanged, so it gets no note.
    note = f"\n\n(The change that you are to look at is in {diff_of(NAME)}.)"
    return replace(lay_files(depot, run, snapshot, files), text="" if plan.runtime.own else note)


def named_in(task: str) -> str:
    """Return the commit whose later changes the task asks about; empty: the task mentions no changes."""
    if found := _LAST.search(task):
        number = (found[1] or "1").lower()
        return f"HEAD~{_NUMBERS.index(number) + 1 if number in _NUMBERS else int(number)}"
    return "HEAD" if _UNCOMMITTED.search(task) else ""


def _read_history(depot: DepotPort, plan: Plan, snapshot: SnapshotTaken, commits: str) -> bytes:
    hides = hidden_by(plan.rules)
    return depot.shown_history(str(plan.project), snapshot, commits, MOST, hides)


def _of_run(core: Core, plan: Plan, wanted: str, snapshot: SnapshotTaken) -> dict[str, bytes]:
    parent = plan.request.parent
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, f"{LAST}@{plan.project}" if wanted == LAST else wanted)
        asker = None if parent is None else tx.get(Run, parent)
    session = "" if asker is None else payer_of(asker)
    is_its_own = asker is None or run.parent == asker.id or (session and payer_of(run) == session)
    if run.workspace.get("repo") != snapshot.repo:
        raise UsageError(
            f"the change of {run.id} cannot be shown here",
            why=f"{run.id} worked in {run.project or 'no repository'}, not in {plan.project}",
            fix="name a run of this repository, or commits such as HEAD~1",
            code="bad_value",
        )
    if not is_its_own:
        raise UsageError(
            f"the change of {run.id} cannot be shown to a run of this session",
            why=f"another session or a user started {run.id}",
            fix="name commits such as HEAD~1 once the change has landed, or a run that this session started",
            code="bad_value",
        )
    files = change_shown(core.ports.depot, run, NAME, plan.rules)
    if not files:
        raise UsageError(
            f"{run.id} has no change to show", fix=f"see: pancode runs show {run.id}", code="bad_value"
        )
    return files
