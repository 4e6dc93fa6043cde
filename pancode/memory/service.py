"""Stores what runs decided, did and left open, passes it to later runs, and deletes it on request."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.receipt import Claims
from pancode.agents.prompts import CHARS_PER_TOKEN
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.formatting import escape_line, reveal_invisible
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.memory.answers import NoteShape
from pancode.memory.model import (
    MOST_LEFT,
    MOST_PART,
    MOST_TASK,
    Nearness,
    RunNote,
    format_note,
    in_use,
    left_by,
    limit_text,
    parts_of,
    rank_notes,
    source_of,
)
from pancode.runs.admission.request_rules import as_task
from pancode.runs.core import Core
from pancode.runs.facts import Lineage, Provision
from pancode.runs.lists import moment_ms
from pancode.runs.receipts.answer import claimed_answer
from pancode.runs.request import DispatchRequest, GivenNote, PromptParts
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import find_run, find_series
from pancode.runs.whole_changes import find_larger

_SHAPES: tuple[tuple[str, str], ...] = (
    ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("a key of AWS", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a GitHub token", r"\b(?:gh[pousr]_[0-9A-Za-z]{20,}|github_pat_[0-9A-Za-z_]{20,})"),
    ("a GitLab token", r"\bglpat-[0-9A-Za-z_-]{16,}"),
    ("a Slack token", r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}"),
    ("an API key of a model provider", r"\b(?:sk|rk|pk|gsk|xai|hf)[-_][0-9A-Za-z_-]{18,}"),
    ("a Google API key", r"\bAIza[0-9A-Za-z_-]{30,}"),
    ("a PanCode token", r"\bpct_[0-9A-Za-z_-]{16,}"),
    ("a signed token", r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}"),
    ("a password in a URL", r"\b[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]{3,}@"),
    ("a bearer token", r"(?i)\bbearer\s+[0-9a-z._~+/-]{16,}"),
    (
        "the value of a secret",
        r"(?i)(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
        r"[\"'`]?\s*[=:]\s*[\"'`]?(?=[^\s\"'`]*\d)[^\s\"'`,;(){}\[\]<>$]{8,}",
    ),
)
_COMPILED = tuple((words, re.compile(shape)) for words, shape in _SHAPES)


def secret_in(text: str) -> str:
    """Return what kind of secret the text seems to contain; empty: none found. Errors are possible both ways.
    A name followed by a value counts only if the value has a digit, as most secrets and few words do."""
    return next((words for words, shape in _COMPILED if shape.search(text)), "")


LOOKED_AT = 2_000
"""How many of the newest notes are searched."""


def store_note(work: Work, claims: Claims) -> None:
    """Store the note of a run, in the transaction that accepts its receipt. No note is stored for work that
    did not complete, a user's own command, or a run that has neither a repository nor a lane.

    A note that seems to contain a secret is not stored; the run's timeline records that.
    """
    run = work.tx.get(Run, claims.identity.run)
    if run is None or run.judges is not None or not _leaves_notes(run.runtime):
        return
    lane = lane_of(work, run)
    if run.project is None and not lane:
        return
    scouts = bool(Provision.of(run).scouts)
    has_answer = claims.outcome is Outcome.DONE or (scouts and claims.failure is FailureKind.REQUEST_LIMIT)
    answer = claimed_answer(work.core, claims) if has_answer else ""
    parts = parts_of(answer)
    if scouts and answer.strip() and not parts:  # The scout's only answer is its report.
        parts = {"REPORT": limit_text(reveal_invisible(answer.strip()), MOST_PART)}
    elif not parts and (lane or Lineage.of(run).in_workspace):  # The next run there gets all of the report.
        parts = left_by(answer, MOST_LEFT)
    if parts:
        _write(work, run, claims, parts)


def _write(work: Work, run: Run, claims: Claims, parts: dict[str, str]) -> None:
    secret = (
        ("a secret of the run's node")
        if claims.exposed
        else secret_in("\n".join((run.task, *parts.values())))
    )
    if secret:
        work.tell(run.id, "history", "note", "not kept", f"it seems to contain {secret}")
        return
    task = limit_text(escape_line(run.task.strip()), MOST_TASK)
    project, receipt = run.project or "", str(run.result.get("receipt") or "")
    at_ms = work.core.wall_ms()
    work.tx.put(RunNote(run.id, at_ms, project, run.agent, claims.commit, receipt, task, parts))


def lane_of(work: Work, run: Run) -> str:
    """Return the id of the lane that has the run as an item; empty: no lane."""
    larger = find_larger(work.core, work.tx, run.workflow)
    return larger.id if larger is not None and larger.stays_open else ""


def _leaves_notes(runtime: str) -> bool:
    """Whether runs of this runtime leave notes, because it is an agent or a program that acts as an agent."""
    kind = RUNTIMES[runtime]
    return kind.plays or not kind.own


def find_place(
    core: Core, project_of: Callable[[str | None], str | None], lane: str, workspace: str, cwd: str | None
) -> WorkPlace:
    """Return the place of a lane's item, of a run in the workspace, or of a run dispatched in folder `cwd`.
    `lane`, `workspace`: by name; empty: none. NotFoundError if the name is unknown."""
    row, kept = find_series(core, "lane", lane), find_series(core, "workspace", workspace)
    project = kept.project if kept is not None else project_of(row.cwd if row is not None else cwd)
    return WorkPlace(project, workspace, row.id if row is not None else "")


def search_notes(core: Core, place: WorkPlace, words: str, limit: int) -> list[NoteShape]:
    """Return the notes that share a word with `words`, best first; without words, the newest. They are of the
    place's lane or workspace if it has one, else of its repository, else of all repositories."""
    with core.ports.ledger.transaction() as tx:
        if place.lane or place.workspace:
            notes = notes_at(tx, place, LOOKED_AT)
            near = near_of(tx, notes, place)
            notes = [note for note in notes if note.run in near]
        else:
            where = {} if place.project is None else {"project": place.project}
            notes = tx.find(RunNote, where, order="at_ms", descending=True, limit=LOOKED_AT)
        found = rank_notes(notes, words) if words.strip() else notes
        return [_shape(core, tx, note) for note in found[:limit]]


def get_note(core: Core, text: str) -> NoteShape:
    """Return the note of the run with this id or name; NotFoundError if it has none."""
    with core.ports.ledger.transaction() as tx:
        return _shape(core, tx, _note(tx, text))


def _note(tx: Transaction, text: str) -> RunNote:
    run = find_run(tx, text)
    note = tx.get(RunNote, run.id)
    if note is None:
        why = _why_none(run)
        raise NotFoundError(f"{run.id} has no note", why=why, fix="pancode history", code="note_not_found")
    return note


def _why_none(run: Run) -> str:
    if not _leaves_notes(run.runtime) or (run.project is None and run.workflow is None):
        return "only an agent's work in a repository or a lane leaves a note"
    if run.outcome is not Outcome.DONE:
        return f"only completed work leaves a note; the run's state is {run.outcome or run.state}"
    return (
        "its answer did not end with the required report, or seemed to contain a secret, or the note was "
        "forgotten"
    )


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Which notes to delete: those of `runs`, and those older than a time in `project` (None: all)."""

    runs: Sequence[str] = ()
    before: str | None = None
    project: str | None = None


def delete_notes(core: Core, request: Forgotten, by: str) -> list[str]:
    """Delete notes and return their runs. On UsageError or NotFoundError, nothing is deleted."""
    if not request.runs and request.before is None:
        fix = "name runs or a time, as in: pancode history forget --before 30d"
        raise UsageError("neither runs nor a time were given", fix=fix, code="bad_value")
    with unit_of_work(core) as work:
        gone = _select_notes(work.tx, request, core.wall_ms())
        for run in gone:
            work.tx.delete(RunNote, run)
        if gone:
            work.audit("config", "info", "notes forgotten", by=by, runs=gone[:100], count=len(gone))
    return gone


def _select_notes(tx: Transaction, request: Forgotten, now_ms: int) -> list[str]:
    meant = [_note(tx, text).run for text in request.runs]
    if request.before is not None:
        until = moment_ms(request.before, now_ms)
        where = {} if request.project is None else {"project": request.project}
        meant += [note.run for note in tx.find(RunNote, where) if note.at_ms <= until]
    return list(dict.fromkeys(meant))


def _shape(core: Core, tx: Transaction, note: RunNote) -> NoteShape:
    run = tx.get(Run, note.run)
    landed = run is not None and run.landed is not None
    return make_answer(
        NoteShape,
        note,
        repository=note.project,
        source=source_of(note, landed, core.wall_ms()),
        landed=landed,
        receipt=note.receipt or None,
    )


NOTES_LOOKED_AT, MOST_NOTES = 200, 12
"""How many of the newest notes are examined, and how many a run gets at most."""


@dataclass(frozen=True, slots=True)
class WorkPlace:
    """Where a run works, which decides what notes it gets. `project`: its repository; `lane`: lane id."""

    project: str | None
    workspace: str = ""
    lane: str = ""


def near_of(tx: Transaction, notes: Sequence[RunNote], place: WorkPlace) -> dict[str, Nearness]:
    """Return the relation of notes to this place (same lane or same workspace), by run."""
    if not place.workspace and not place.lane:
        return {}
    found: dict[str, Nearness] = {}
    for run in (tx.get(Run, note.run) for note in notes):
        if run is not None and place.lane and run.workflow == place.lane:
            found[run.id] = Nearness.LANE
        elif run is not None and place.workspace and Lineage.of(run).in_workspace == place.workspace:
            found[run.id] = Nearness.WORKSPACE
    return found


def notes_at(tx: Transaction, place: WorkPlace, limit: int) -> list[RunNote]:
    """Return the notes of the place's repository, and its lane's without a repository; newest first."""
    newest: dict[str, Any] = {"order": "at_ms", "descending": True, "limit": limit}
    found = [] if place.project is None else tx.find(RunNote, {"project": place.project}, **newest)
    if not place.lane:
        return list(found)
    loose = tx.find(RunNote, {"project": ""}, **newest)
    near = near_of(tx, loose, place)
    return sorted((*found, *(note for note in loose if note.run in near)), key=lambda note: -note.at_ms)


def recall_notes(core: Core, place: WorkPlace, task: str, tokens: int) -> tuple[GivenNote, ...]:
    """Return notes in this order: of the same lane and workspace, then what fits the task, then the newest.

    The previous run's note in the lane or workspace is complete. The other notes, and that one if it is too
    long, have only decisions and open points. Notes that exceed `tokens` are left out.
    """
    if not tokens:
        return ()
    given, room, now = list[GivenNote](), tokens * CHARS_PER_TOKEN, core.wall_ms()
    with core.ports.ledger.transaction() as tx:
        notes = notes_at(tx, place, NOTES_LOOKED_AT)
        near = near_of(tx, notes, place)
        for note in in_use(notes, task, near):
            line, run = near.get(note.run), tx.get(Run, note.run)
            landed = run is not None and run.landed is not None
            ways = (True,) if line is not None and given else (False, True)
            texts = (format_note(note, landed, now, line, brief) for brief in ways)
            text = next((one for one in texts if len(one) <= room), None)
            if text is not None and len(given) < MOST_NOTES:
                given.append(GivenNote(note.run, text))
                room -= len(text)
    return tuple(given)


def give_notes(
    core: Core, around: Surroundings, request: DispatchRequest, skills: tuple[str, ...]
) -> PromptParts:
    """Return the notes of earlier runs that fit the request, as parts of its prompt."""
    place = WorkPlace(request.repository, request.in_workspace, request.lane)
    tokens = around.defaults(request.project).history_tokens
    return PromptParts(notes=recall_notes(core, place, as_task(request).task, tokens))
