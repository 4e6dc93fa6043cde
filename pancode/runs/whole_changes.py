"""Decides what belongs to a run's change, and whether the change is the result of larger work."""

from __future__ import annotations

from pancode.kernel.errors import WorkspaceError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, RunState
from pancode.runs.core import Core
from pancode.runs.extension import LargerWork
from pancode.runs.facts import Lineage
from pancode.runs.retention.parts import must_have_changes
from pancode.runs.views import chain_of, find_run


def change_begins(core: Core, run: Run) -> str | None:
    """Return the commit from which the run's whole change is counted, including the earlier runs that it
    builds on.

    Changes that have landed, or that a restored checkpoint has undone, are not counted. Files composed from
    several results are counted from their common origin. None if the run had no repository.
    """
    first = run
    with core.ports.ledger.transaction() as tx:
        while not (lineage := Lineage.of(first)).origin or lineage.continues:
            old = tx.get(Run, lineage.begins)
            if old is None or old.landed is not None:
                break
            first = old
    # In a workflow, the commit is the one from which the workflow started.
    snapshot = lineage.origin or first.workspace.get("snapshot")
    return snapshot if isinstance(snapshot, str) else None


def change_of(core: Core, run: Run) -> tuple[Run, ...]:
    """Return the runs whose work is in this run's change, this run first; a landing covers all of them. Work
    that has landed or that a restored checkpoint has undone is left out."""
    found: dict[str, Run] = {}
    waiting = [run]
    with core.ports.ledger.transaction() as tx:
        while waiting:
            one = waiting.pop(0)
            if one.id in found or (one.landed is not None and one.id != run.id):
                continue
            found[one.id] = one
            waiting += _taken_by(tx, one)
    return tuple(found.values())


def _taken_by(tx: Transaction, run: Run) -> list[Run]:
    """Return the runs from whose results this run started. A retry starts from the same files as the old run,
    without the old run's work."""
    lineage = Lineage.of(run)
    names = lineage.takes or (lineage.begins,)
    olds = [old for name in names if (old := tx.get(Run, name)) is not None]
    same = [
        old
        for old in olds
        if run.retry_of == old.id and run.workspace.get("snapshot") == old.workspace.get("snapshot")
    ]
    return [one for old in olds for one in (_taken_by(tx, old) if old in same else [old])]


def find_larger(core: Core, tx: Transaction, name: str | None) -> LargerWork | None:
    """Return the larger work with this id; None: no feature knows it."""
    found = (find(tx, name) for find in core.extensions.larger) if name else ()
    return next((work for work in found if work is not None), None)


def is_the_result(core: Core, tx: Transaction, run: Run, *, anyway: bool = False) -> bool:
    """Whether the run's result is a result of its larger work; True for a run that is part of none. With
    `anyway`, the newest change of work that failed counts, too, as no list may hide it."""
    work = find_larger(core, tx, run.workflow)
    return work is None or run.id in work.list_results(anyway)


def find_newest_interactive_run(core: Core, text: str) -> Run:
    """Return the run that the text names, as `find_run` does; for a session, its newest interactive run,
    which contains the whole change."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        newest = chain_of(tx, run)[-1]
    return newest if newest.takes_turns else run


NOT_SUSPENDED = "not_at_rest"
"""The code of an error that disappears when the session is suspended; `run` in its details is the session."""


def get_suspended(core: Core, text: str) -> Run:
    """Return the run as `find_newest_interactive_run` does. WorkspaceError for an interactive run that has a
    repository and has not ended, as it has no change yet."""
    run = find_newest_interactive_run(core, text)
    if not run.takes_turns or run.project is None or run.state is RunState.ENDED:
        return run
    raise WorkspaceError(
        f"{run.id} has not ended: its session must be suspended first",
        why=f"it is {run.state}; a suspended session continues with your next message",
        fix=f"pancode sessions rest {run.id}; then run the same command again",
        code=NOT_SUSPENDED,
        details={"run": run.id},
    )


def commits_of(core: Core, run: Run) -> tuple[str, str, str | None]:
    """Return the change's repository, base and result; WorkspaceError if the run cannot have a change.

    The base is that of the first run in the chain that this run continues. If the run itself changed nothing,
    the result is that of the run before it.
    """
    repo, snapshot, commit = _own_commits(run)
    begins = change_begins(core, run) or snapshot
    return repo, begins, commit or (snapshot if begins != snapshot else None)


def _own_commits(run: Run) -> tuple[str, str, str | None]:
    repo, snapshot = run.workspace.get("repo"), run.workspace.get("snapshot")
    if run.workspace.get("kind") != "git" or not isinstance(repo, str) or not isinstance(snapshot, str):
        raise WorkspaceError(
            f"{run.id} has no change to land: it worked in an empty directory",
            why="the run used --workspace none",
            fix=f"see its answer and files: pancode runs show {run.id}; to work in a repository: pancode "
            "dispatch TASK",
        )
    must_have_changes(run)
    commit = run.result.get("commit")
    if commit is None and run.state is not RunState.ENDED:
        raise WorkspaceError(f"{run.id} has not ended", fix=f"pancode runs show {run.id}")
    return repo, snapshot, str(commit) if commit is not None else None


def diff_change(core: Core, text: str, stat: bool) -> bytes:
    """Return the change of the run that the text names as a patch, or as a list of files with counts."""
    repo, begins, commit = commits_of(core, get_suspended(core, text))
    return b"" if commit is None else core.ports.depot.diff(repo, begins, commit, stat)


def diff_since(core: Core, text: str, before: str, stat: bool) -> bytes:
    """Return what the run's result has changed since the result of another run. WorkspaceError if the two are
    not of one repository."""
    run, old = find_newest_interactive_run(core, text), find_newest_interactive_run(core, before)
    (repo, snapshot, commit), (repo_before, snapshot_before, commit_before) = map(_own_commits, (run, old))
    if repo != repo_before:
        raise WorkspaceError(
            f"{run.id} and {old.id} are of two repositories",
            fix=f"pancode diff {run.id}",
        )
    return core.ports.depot.diff(repo, commit_before or snapshot_before, commit or snapshot, stat)
