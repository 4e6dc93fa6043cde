"""Reads track records out of ended runs with accepted receipts, and chooses by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from pancode.account import track_records
from pancode.account.track_records import TrackRecord, WorkKey, choose, kind_of
from pancode.agents.request import EXPLORE, ExpectedWork
from pancode.control.core import Core
from pancode.control.recent import LOOKED_AT as LOOKED_AT
from pancode.control.recent import RecentRuns
from pancode.core.records import EndedRun


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
        found = track_records.of_agents(self.records(), kind_of(task), self._repository)
        return choose(names, found, self._draw(), self._explore)

    def model(self, agent: str, models: Sequence[str], task: str) -> tuple[str, str]:
        bare = {name: name.rpartition("/")[2] for name in models}
        found = track_records.of_models(self.records(), agent, kind_of(task), bare)
        return choose(models, found, self._draw(), self._explore)

    def expect(self, agent: str, runtime: str, model: str | None, task: str) -> ExpectedWork | None:
        return track_records.expected(self.records(), agent, runtime, model, task)
