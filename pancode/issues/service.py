"""Work on issues: begins it in a separate workspace, lists it, stores it until the tracker shows its end."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

from pancode.agents.agents import DEFAULT_AGENT
from pancode.agents.runtimes import RUNTIMES, resolve_alias
from pancode.git.forge_rules import TrackerKind
from pancode.issues.answers import IssueWorkShape
from pancode.issues.kept_plans import is_plan_kept
from pancode.issues.model import MOST_TITLE, OVER, Issue, Trackers, number_of, place_of, task_of, words_of
from pancode.issues.records import IssueWork
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import ConflictError, RefusedError
from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.runs.admission.planning import complete_request
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run, new_id
from pancode.runs.facts import Lineage
from pancode.runs.life.conversation import is_blocked
from pancode.runs.project_rules import NamedProject, find_project, moved_project_error
from pancode.runs.request import DispatchRequest
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.workspaces.rules import find_workspace, runs_in
from pancode.workspaces.service import create_if_missing

MOST_ENDED = 100
"""How many ended works (the newest) are listed with the open ones."""


def work_in(tx: Transaction, workspace: str) -> IssueWork | None:
    """Return the work on the issue of this workspace, or None."""
    return tx.get(IssueWork, workspace)


def open_works(tx: Transaction) -> list[IssueWork]:
    """Return all unfinished work on issues, oldest first."""
    return tx.find(IssueWork, {"ended": False}, order="began_ms")


def held_name(one: IssueWork) -> str:
    """Return the name of work on an issue in the hold of a restored ledger."""
    return f"issue:{one.workspace}"


def known_to_runs(one: IssueWork, issue: Issue) -> IssueWork:
    """Return the work with the issue's current text recorded as the text that its runs have."""
    return replace(one, text=words_of(issue), title=issue.title[:MOST_TITLE])


def is_begun(core: Core, tx: Transaction, workspace: str) -> bool:
    """Whether work on the issue has begun. False if the coordinator was killed before the work's run was
    queued."""
    one = work_in(tx, workspace)
    if one is None:
        return False
    return not one.run or one.epoch == core.epoch or tx.get(Run, one.run) is not None


def record_work(core: Core, done: IssueWork, before: IssueWork) -> None:
    """Record those fields that differ between `before` and `done`, as other writers may have changed the
    others. Does nothing if the work was deleted meanwhile."""
    with unit_of_work(core) as work:
        there = work_in(work.tx, done.workspace)
        if there is not None:
            new = {one.name: getattr(done, one.name) for one in fields(done)}
            changed = {name: value for name, value in new.items() if value != getattr(before, name)}
            work.tx.put(replace(there, **changed))


def forget_work(core: Core, workspace: str, run: str | None = None) -> None:
    """Delete the work of a removed workspace, so that the tracker gets no more updates. `run`: delete only if
    this is still the work's newest run, so that a newer start of the work is kept."""
    with unit_of_work(core) as work:
        there = work_in(work.tx, workspace)
        if there is not None and run in (None, there.run):
            work.tx.delete(IssueWork, workspace)


def drop_work(core: Core, one: IssueWork, by: str) -> None:
    """End work that a restored ledger holds, as a user requests."""
    end_work(core, one)
    with unit_of_work(core) as work:
        work.audit("people", "info", "work on an issue dropped after the restore", None, by=by, issue=one.ref)


def end_work(core: Core, over: IssueWork) -> None:
    """End the work and its workspace, unless the work was restarted meanwhile."""
    with unit_of_work(core) as work:
        now, place = work_in(work.tx, over.workspace), find_workspace(work.tx, over.workspace)
        if now == over and place is not None:
            work.tx.put(replace(now, ended=True))
            work.tx.put(replace(place, ended=True))


def closed_issue(core: Core, run: Run) -> str:
    """Return the reference with which a merged pull request closes the run's issue; empty: no issue."""
    there = _find_work(core, run)
    if there is None:
        return ""
    return there.ref if there.tracker == TrackerKind.LINEAR else f"#{number_of(there.ref)}"


def note_pull(core: Core, run: Run, url: str) -> None:
    """Record that a pull request of the run's change was opened."""
    there = _find_work(core, run)
    if there is not None:
        record_work(core, replace(there, pull=url), there)


def _find_work(core: Core, run: Run) -> IssueWork | None:
    """Return the work on an issue to which the run belongs, or None."""
    with core.ports.ledger.transaction() as tx:
        return work_in(tx, Lineage.of(run).in_workspace)


def fetch_issue(around: Surroundings, trackers: Trackers, ref: str) -> tuple[NamedProject, Issue]:
    """Return the project of an issue, and the issue as its tracker returns it now."""
    prefixes = [one.prefix for one in around.projects().values() if one.tracker] if ref.isdecimal() else []
    number_of(ref, prefixes)
    project = find_project(around.projects(), ref)
    return project, trackers.issue(place_of(project), ref.upper())


def by_labels(
    issue: Issue, request: DispatchRequest, project: NamedProject, most: Decimal | None
) -> tuple[DispatchRequest, tuple[str, ...]]:
    """Return the request with the options that the issue's labels choose, and warnings about ignored labels.

    Options set in the request have precedence. `most`: the most that a run there may cost; a label with a
    higher budget is ignored. RefusedError if two labels contradict each other.
    """
    there, reasons = {one.lower() for one in issue.labels}, list[str]()
    rules = {label: rule for label, rule in sorted(project.labels.items()) if label.lower() in there}
    for what in ("agent", "node", "budget"):
        if getattr(request, what) is not None:
            continue
        chosen = {label: getattr(rule, what) for label, rule in rules.items()}
        chosen = {label: one for label, one in chosen.items() if one is not None}
        for label in [label for label in chosen if what == "budget" and most is not None]:
            if chosen[label] > most:
                reasons.append(f"label {label} is ignored: ${chosen.pop(label)} is above ${most} per run")
        if len(set(chosen.values())) > 1:
            names, values = " and ".join(chosen), " and ".join(map(str, chosen.values()))
            fix = (
                f"remove one of the labels from {issue.ref}, or set the value: pancode issue work "
                f"{issue.ref} --{what} ..."
            )
            why = f"the labels choose different values of {what}: {values}"
            raise RefusedError(f"labels {names} contradict each other", why=why, fix=fix, code="labels")
        for label, one in list(chosen.items())[:1]:
            request = replace(request, **{what: one})
            reasons.append(f"label {label} chooses {what} {one}")
    return request, tuple(reasons)


def make_request(
    core: Core, issue: Issue, request: DispatchRequest, around: Surroundings, project: NamedProject
) -> tuple[DispatchRequest, tuple[str, ...]]:
    """Return the request with the issue as its task, and notes on what the issue's labels have chosen. The
    issue's text chooses no option. Raises RefusedError like `by_labels`, and for a runtime that would run the
    issue's text as a program."""
    request, reasons = by_labels(issue, request, project, around.defaults(project.path).per_run_usd)
    agent = request.agent or project.agent or around.defaults(project.path).agent or DEFAULT_AGENT
    own = found.runtime if (found := around.agents(project.path).get(agent)) is not None else None
    kind = RUNTIMES.get(resolve_alias(request.runtime or own or around.defaults(project.path).runtime or ""))
    if kind is not None and kind.own and not kind.plays:
        what = f"runtime {kind.name} would run the text of {issue.ref} as commands"
        why = "an issue is written in the tracker, possibly by somebody whom you do not know"
        fix = f"pancode issue work {issue.ref} --runtime native; a command of yours: pancode dispatch"
        raise RefusedError(what, why=why, fix=fix, code="issue_is_prose")
    with core.ports.ledger.transaction() as tx:
        place = find_workspace(tx, issue.ref)
        newest = tx.get(Run, place.last) if place is not None else None
    task = task_of(issue, is_plan_kept(core, project.path, issue.ref.lower(), newest))
    return replace(request, task=task, of_project=project.name, agent=agent), reasons


def begin_work(
    core: Core, around: Surroundings, project: NamedProject, issue: Issue, request: DispatchRequest, run: str
) -> IssueWork:
    """Return the work on this issue; create it and its workspace if missing, for the run with this id.

    Raises ConflictError for a closed issue, or if the workspace's name is taken; NotFoundError if the
    project's repository no longer exists.
    """
    name = issue.ref.lower()
    if issue.state in OVER:
        what = f"{issue.ref} is {issue.state}"
        raise ConflictError(
            what,
            why=f"the tracker reports this state: {issue.url}",
            fix="reopen the issue in its tracker first",
            code="over",
        )
    if around.project_of(project.path) is None:
        raise moved_project_error(project.name, project.path)
    now, by = core.wall_ms(), request.created_by
    create_if_missing(core, name, project.path, issue.title, request.node, by)
    kind, title = place_of(project).kind, issue.title[:MOST_TITLE]
    fresh = IssueWork(
        name, issue.ref, title, issue.url, project.name, by, now, words_of(issue), kind.value,
        run=run, epoch=core.epoch,
    )  # fmt: skip
    with unit_of_work(core) as work:
        kept = work_in(work.tx, name)
        if kept is not None and is_begun(core, work.tx, name):
            return kept
        work.tx.put(fresh)
    return fresh


def start_work(
    core: Core, around: Surroundings, project: NamedProject, issue: Issue, request: DispatchRequest
) -> tuple[str, Dispatched]:
    """Start work; return this issue's workspace and the run that works on it. Raises like `begin_work` and
    admission. What the issue's labels chose becomes a warning and an entry in the run's timeline."""
    run, (chosen, reasons) = new_id(core), make_request(core, issue, request, around, project)
    there = begin_work(core, around, project, issue, request, run)
    name = there.workspace
    try:
        placed = complete_request(core, around, replace(chosen, workspace=name))
        record_work(core, known_to_runs(there, issue), there)
        done = dispatch_run(core, around, placed, None, run)
    except Exception:
        if there.run == run:
            forget_work(core, name, run)
        raise
    with unit_of_work(core) as work:
        now = work_in(work.tx, name) or known_to_runs(there, issue)
        work.tx.put(replace(now, run=run, ended=False))
        if there.run == run:
            by, what = request.created_by, "work on an issue"
            work.audit("people", "info", what, None, by=by, issue=issue.ref, url=issue.url)
        if reasons:
            work.tell(run, "settings", "labels", "applied", "; ".join(reasons))
    return name, replace(done, warnings=(*done.warnings, *reasons))


def list_work(core: Core) -> list[IssueWorkShape]:
    """Return all open work on issues and the most recently ended work, newest first."""
    with core.ports.ledger.transaction() as tx:
        ended = tx.find(IssueWork, {"ended": True}, order="began_ms", descending=True, limit=MOST_ENDED)
        found = [_shape(one, runs_of(tx, one)[1]) for one in (*open_works(tx), *ended)]
    return sorted(found, key=lambda one: str(one["began_at"]), reverse=True)


def runs_of(tx: Transaction, one: IssueWork) -> tuple[str | None, list[Run]]:
    """Return the branch of the work's workspace, None if a user removed it, and its runs, newest last."""
    line = find_workspace(tx, one.workspace)
    return (None, []) if line is None else (line.branch, runs_in(tx, line))


def find_newest_run(core: Core, ref: str) -> Run:
    """Return the newest run that works on this issue. Raises NotFoundError if there is none."""
    with core.ports.ledger.transaction() as tx:
        there = work_in(tx, ref.lower())
        runs = [] if there is None else runs_of(tx, there)[1]
        if not runs:
            names = [one.ref for one in open_works(tx)]
            raise not_found("work on issue", ref, names, f"start work: pancode issue work {ref.upper()}")
    return runs[-1]


def _shape(one: IssueWork, runs: list[Run]) -> IssueWorkShape:
    last = runs[-1] if runs else None
    ended = last is not None and last.state is RunState.ENDED
    return make_answer(
        IssueWorkShape,
        one,
        issue=one.ref,
        state=one.state or None,
        run=None if last is None else last.id,
        run_state=None if last is None else str(last.outcome if ended else last.state),
        waits=last is not None and is_blocked(last),
        pull=one.pull or None,
        trouble=one.trouble or None,
    )
