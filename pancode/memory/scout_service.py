"""Starts scouts for questions about a repository; reuses known answers for the same files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from node_agent.wire.failure import FailureKind, Outcome
from pancode.agents.model_profiles import MODEL_UNTESTED
from pancode.kernel.errors import NotFoundError, PancodeError, UsageError
from pancode.kernel.formatting import format_seconds
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.memory.answers import ScoutShape
from pancode.memory.model import RunNote
from pancode.memory.scout_rules import (
    DEPTH,
    QUESTION,
    SCOUT,
    Depth,
    ScoutGround,
    as_scout,
    format_worker,
    handed_on,
    has_answer,
)
from pancode.runs.core import Core
from pancode.runs.dispatch import dispatch_run
from pancode.runs.facts import Provision
from pancode.runs.receipts.answer import whole_answer
from pancode.runs.request import DispatchRequest
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import find_run, format_optional_iso, load_run, not_ended

LOOKED_AT = 500
"""How many of the newest notes of a repository are searched for an answer."""
ANSWERED, UNDER_WAY, FAILED, REFUSED = "answered", "under way", "failed", "refused"


@dataclass(frozen=True, slots=True)
class Expedition:
    """Questions about a repository, with options. `again`: ask even if an answer is known."""

    questions: tuple[str, ...]
    depth: Depth = Depth.MEDIUM
    again: bool = False


def explore(
    core: Core, around: Surroundings, request: DispatchRequest, parent: str | None, expedition: Expedition
) -> list[ScoutShape]:
    """Return one row for each question, in order: its answer if known for exactly these files, else the run
    that searches for it. `request`: who asks, from which folder, and with which options.

    A refused question has the refusal in its row; if all are refused, PancodeError is raised.
    """
    project = None if request.cwd is None else around.project_of(request.cwd)
    if project is None:
        raise UsageError(
            "a scout requires a git repository, and this folder is not in one",
            fix="change to the repository",
            code="no_repository",
        )
    request = replace(request, project=project)
    tree = core.ports.depot.tree_now(project, around.defaults(project).allowed_files)
    ground = ScoutGround(tree, around.below(request.cwd or project, project), format_worker(request))
    found: list[ScoutShape] = []
    refusals: list[PancodeError] = []
    for question in expedition.questions:
        known = None if expedition.again else _find_known(core, project, ground, question, expedition.depth)
        if known is not None:
            found.append(known)
            continue
        try:
            begun = dispatch_run(core, around, as_scout(request, question, expedition.depth), parent)
        except PancodeError as refused:
            if refused.code == MODEL_UNTESTED:
                raise  # The caller has the model tested first, and then asks all questions again.
            refusals.append(refused)
            found.append(_make_refused_row(question, expedition.depth, refused))
        else:
            found.append(_show_scout(core, begun.run.id, False))
    if len(refusals) == len(found):
        raise refusals[0]
    return found


def _find_known(
    core: Core, project: str, ground: ScoutGround, question: str, depth: Depth
) -> ScoutShape | None:
    """Return the answer in an accepted receipt, else the run that searches for one; None if neither."""
    with core.ports.ledger.transaction() as tx:
        for run in _list_scouts(tx, project):
            if has_answer(Provision.of(run).scouts, ground, question, depth):
                return _make_row(core, tx, run, earlier=run.state is RunState.ENDED)
    return None


def _list_scouts(tx: Transaction, project: str) -> Iterator[Run]:
    """Yield the repository's scouts that left a note, newest first, then the scouts under way. A scout whose
    note a user has deleted (`history forget`) is left out."""
    notes = tx.find(RunNote, {"project": project}, order="at_ms", descending=True, limit=LOOKED_AT)
    runs = [tx.get(Run, note.run) for note in notes if note.agent == SCOUT]
    runs += not_ended(tx)
    yield from (run for run in runs if run and run.project == project and Provision.of(run).scouts)


def get_scout(core: Core, text: str) -> ScoutShape:
    """Return what the scout with this id or name has found so far. NotFoundError for any other run."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
    if not Provision.of(run).scouts:
        fix = f"pancode runs show {run.id}"
        raise NotFoundError(f"{run.id} is not a scout of pancode workflow explore", fix=fix, code="no_scout")
    return _show_scout(core, run.id, False)


def _show_scout(core: Core, run_id: str, earlier: bool) -> ScoutShape:
    with core.ports.ledger.transaction() as tx:
        return _make_row(core, tx, load_run(tx, run_id), earlier)


def _make_row(core: Core, tx: Transaction, run: Run, earlier: bool) -> ScoutShape:
    scouts = Provision.of(run).scouts
    answer, cut = handed_on(whole_answer(core, tx, run).strip(), Depth(scouts[DEPTH]))
    ended = run.state is RunState.ENDED
    has_answer = run.outcome is Outcome.DONE or run.failure is FailureKind.REQUEST_LIMIT
    state = UNDER_WAY if not ended else ANSWERED if has_answer and answer else FAILED
    age_ms = max(0, core.wall_ms() - run.finished_ms) if run.finished_ms is not None else None
    return {
        "question": scouts[QUESTION],
        "depth": scouts[DEPTH],
        "state": state,
        "run": run.id,
        "earlier": earlier,
        "at": format_optional_iso(run.finished_ms),
        "age": "" if age_ms is None else format_seconds(age_ms / 1000),
        "model": run.model,
        "answer": answer if state == ANSWERED else "",
        "cut": cut,
        "reason": run.reason,
    }


def _make_refused_row(question: str, depth: Depth, refused: PancodeError) -> ScoutShape:
    why = f"{refused}: {refused.why}" if refused.why else str(refused)
    return {
        "question": question,
        "depth": depth.value,
        "state": REFUSED,
        "run": None,
        "earlier": False,
        "at": None,
        "age": "",
        "model": None,
        "answer": "",
        "cut": False,
        "reason": why,
    }
