"""Which notes of earlier runs a new run is given, by the place where it works and by its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pancode.agents.prompts import CHARS_PER_TOKEN
from pancode.kernel.facets import Lineage
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, RunNote
from pancode.memory.model import Nearness, format_note, in_use
from pancode.runs.admission.request_rules import as_task
from pancode.runs.core import Core
from pancode.runs.request import DispatchRequest, GivenNote, PromptParts
from pancode.runs.user_environment import Surroundings

NOTES_LOOKED_AT, MOST_NOTES = 200, 12
"""How many of the newest notes are looked at, and how many are given at most."""


@dataclass(frozen=True, slots=True)
class WorkPlace:
    """Where a run works, which decides whose notes it gets. `project`: repository; `lane`: workflow's id."""

    project: str | None
    workspace: str = ""
    lane: str = ""


def near_of(tx: Transaction, notes: Sequence[RunNote], place: WorkPlace) -> dict[str, Nearness]:
    """Return, by run, the line of work that the run has in common with this place."""
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
    """Return the repository's notes, and the lane's notes that have no repository; the newest first."""
    newest: dict[str, Any] = {"order": "at_ms", "descending": True, "limit": limit}
    found = [] if place.project is None else tx.find(RunNote, {"project": place.project}, **newest)
    if not place.lane:
        return list(found)
    loose = tx.find(RunNote, {"project": ""}, **newest)
    near = near_of(tx, loose, place)
    return sorted((*found, *(note for note in loose if note.run in near)), key=lambda note: -note.at_ms)


def recall_notes(core: Core, place: WorkPlace, task: str, tokens: int) -> tuple[GivenNote, ...]:
    """Return notes in this order: of the same lane and workspace, then what fits the task, then the newest.

    The note of the run before in its line is given whole; of the line's others, and where the rest is too
    long, only what was decided and left open. What is still too long is left out.
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
    """Return the notes of earlier runs that fit the request."""
    place = WorkPlace(request.repository, request.in_workspace, request.lane)
    tokens = around.defaults(request.project).history_tokens
    return PromptParts(notes=recall_notes(core, place, as_task(request).task, tokens))
