"""Chooses agent and model of a dispatch by the records of ended runs, and says what such runs need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from pancode.budget import track_record_rules
from pancode.budget.track_record_rules import EXPLORE, ExpectedWork, TrackRecord, WorkKey, choose_name
from pancode.kernel.records import EndedRun
from pancode.runs.core import Core
from pancode.runs.live import LOOKED_AT, RecentRuns


def read_records(core: Core) -> Mapping[WorkKey, TrackRecord]:
    """Return the present track records; read once, then kept up to date by each commit."""
    with core.lock:
        return read_recent(core).sums


def read_recent(core: Core) -> RecentRuns:
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
        self.records = cache(lambda: read_records(core))
        self._draw = cache(lambda: int(core.ports.ids.token(4), 16) / 2**32)

    def agent(self, names: Sequence[str], task: str) -> tuple[str, str]:
        found = track_record_rules.of_agents(self.records(), task, self._repository)
        return choose_name(names, found, self._draw(), self._explore)

    def model(self, agent: str, models: Sequence[str], task: str) -> tuple[str, str]:
        bare = {name: name.rpartition("/")[2] for name in models}
        found = track_record_rules.of_models(self.records(), agent, task, bare)
        return choose_name(models, found, self._draw(), self._explore)

    def expect(self, agent: str, runtime: str, model: str | None, task: str) -> ExpectedWork | None:
        return track_record_rules.estimate_work(self.records(), agent, runtime, model, task)

    def figure(self, agent: str, runtime: str, model: str | None, task: str) -> str:
        return track_record_rules.describe_worker(self.records(), agent, runtime, model, task)
