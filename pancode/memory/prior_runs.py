"""What a dispatch knows of earlier runs: the records by which it chooses, and the notes that it hands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pancode.agents.prompts import CHARS_PER_TOKEN
from pancode.budget import track_record_rules
from pancode.budget.track_record_rules import EXPLORE, ExpectedWork, TrackRecord, WorkKey, choose
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EndedRun, Run, RunNote
from pancode.kernel.rows import GivenSkills
from pancode.memory.model import Nearness, in_use, material
from pancode.runs.core import Core
from pancode.runs.facets import Lineage
from pancode.runs.live import LOOKED_AT, RecentRuns
from pancode.runs.request import GivenNote
from pancode.runs.user_environment import Surroundings
from pancode.skills.made_tool_store import with_tools


def given_skills(
    core: Core, around: Surroundings, project: str | None, names: tuple[str, ...]
) -> GivenSkills:
    """Return the named skills, and the project's own skills and tools that a person has kept."""
    return with_tools(core, project, around.skills(project, names))


def lately(core: Core) -> Mapping[WorkKey, TrackRecord]:
    """Return the present track records; read once, then kept up to date by each commit."""
    with core.lock:
        return recent(core).sums


def recent(core: Core) -> RecentRuns:
    with core.lock:
        known = core.live.recent
        if known is None:
            with core.ports.ledger.transaction() as tx:
                rows = tx.find(EndedRun, order="ended_ms", descending=True, limit=LOOKED_AT)
            known = core.live.recent = RecentRuns(reversed(rows))
        return known


class RecordsPicker:
    """Makes all choices of one dispatch: the records of one moment, and one random draw."""

    def __init__(self, core: Core, repository: str | None, explore: float = EXPLORE) -> None:
        self._core, self._repository, self._explore = core, repository, explore
        self.records = cache(lambda: lately(core))
        self._draw = cache(lambda: int(core.ports.ids.token(4), 16) / 2**32)

    def agent(self, names: Sequence[str], task: str) -> tuple[str, str]:
        found = track_record_rules.of_agents(self.records(), task, self._repository)
        return choose(names, found, self._draw(), self._explore)

    def model(self, agent: str, models: Sequence[str], task: str) -> tuple[str, str]:
        bare = {name: name.rpartition("/")[2] for name in models}
        found = track_record_rules.of_models(self.records(), agent, task, bare)
        return choose(models, found, self._draw(), self._explore)

    def expect(self, agent: str, runtime: str, model: str | None, task: str) -> ExpectedWork | None:
        return track_record_rules.expected(self.records(), agent, runtime, model, task)

    def figure(self, agent: str, runtime: str, model: str | None, task: str) -> str:
        return track_record_rules.figure(self.records(), agent, runtime, model, task)


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


def recalled(core: Core, place: WorkPlace, task: str, tokens: int) -> tuple[GivenNote, ...]:
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
            texts = (material(note, landed, now, line, brief) for brief in ways)
            text = next((one for one in texts if len(one) <= room), None)
            if text is not None and len(given) < MOST_NOTES:
                given.append(GivenNote(note.run, text))
                room -= len(text)
    return tuple(given)
