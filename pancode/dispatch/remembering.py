"""What a dispatch knows of earlier runs: the records by which it chooses, and the notes that it hands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from pancode.account import track_records
from pancode.account.track_records import TrackRecord, WorkKey, choose
from pancode.agents.prompts import CHARS_PER_TOKEN
from pancode.agents.request import EXPLORE, ExpectedWork, GivenNote
from pancode.control.core import Core
from pancode.control.live import LOOKED_AT, RecentRuns
from pancode.core.records import EndedRun, Run, RunNote
from pancode.life.notes import in_use, material


def lately(core: Core) -> Mapping[WorkKey, TrackRecord]:
    """The present records; read once, then kept up to date by each commit."""
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
    """Makes all choices of one dispatch, with the records of one moment and one random draw."""

    def __init__(self, core: Core, repository: str | None, explore: float = EXPLORE) -> None:
        self._core, self._repository, self._explore = core, repository, explore
        self.records = cache(lambda: lately(core))
        self._draw = cache(lambda: int(core.ports.ids.token(4), 16) / 2**32)

    def agent(self, names: Sequence[str], task: str) -> tuple[str, str]:
        found = track_records.of_agents(self.records(), task, self._repository)
        return choose(names, found, self._draw(), self._explore)

    def model(self, agent: str, models: Sequence[str], task: str) -> tuple[str, str]:
        bare = {name: name.rpartition("/")[2] for name in models}
        found = track_records.of_models(self.records(), agent, task, bare)
        return choose(models, found, self._draw(), self._explore)

    def expect(self, agent: str, runtime: str, model: str | None, task: str) -> ExpectedWork | None:
        return track_records.expected(self.records(), agent, runtime, model, task)

    def figure(self, agent: str, runtime: str, model: str | None, task: str) -> str:
        return track_records.figure(self.records(), agent, runtime, model, task)


NOTES_LOOKED_AT, MOST_NOTES = 200, 12
"""So many of the newest notes are looked at, and so many are given at most."""


def recalled(core: Core, project: str | None, task: str, tokens: int) -> tuple[GivenNote, ...]:
    """Those that fit the task first, then the newest; what is too long for the rest is passed over."""
    if project is None or not tokens:
        return ()
    given, room, now = list[GivenNote](), tokens * CHARS_PER_TOKEN, core.wall_ms()
    with core.ports.ledger.transaction() as tx:
        notes = tx.find(RunNote, {"project": project}, order="at_ms", descending=True, limit=NOTES_LOOKED_AT)
        for note in in_use(notes, task):
            run = tx.get(Run, note.run)
            text = material(note, run is not None and run.landed is not None, now)
            if len(text) <= room and len(given) < MOST_NOTES:
                given.append(GivenNote(note.run, text))
                room -= len(text)
    return tuple(given)
