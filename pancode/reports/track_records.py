"""Track records: how well agents do each kind of work, from accepted receipts only."""

from __future__ import annotations

from pancode.budget import books
from pancode.budget.answers import TrackRecordRow
from pancode.budget.track_record_rules import ENOUGH, TrackRecord, WorkKey, sum_records
from pancode.kernel.values import replace
from pancode.runs.admission.planning import read_records
from pancode.runs.core import Core


def track_records(core: Core, agent: str | None, rankings: bool, limit: int) -> list[TrackRecordRow]:
    """Return track records, best smoothed rate first. `rankings`: only by agent, model and runtime."""
    known = read_records(core).items()
    found = sum_records(
        (_reduce_key(key) if rankings else replace(key, node=None), record) for key, record in known
    )
    shown = [(key, record) for key, record in found.items() if agent in (None, key.agent)]
    shown.sort(key=lambda pair: (-pair[1].rate, -pair[1].runs, pair[0].agent, pair[0].model or ""))
    return [_make_row(key, record) for key, record in shown[:limit]]


def _reduce_key(key: WorkKey) -> WorkKey:
    return WorkKey(key.agent, key.model, key.runtime, "", None)


def _make_row(key: WorkKey, record: TrackRecord) -> TrackRecordRow:
    low, high = record.interval
    changes = record.landed or None
    usd = None if changes is None or record.unknown else float(record.usd / changes)
    minutes = None if changes is None else record.ms / books.MINUTE_MS / changes
    return {
        "agent": key.agent,
        "model": key.model,
        "runtime": key.runtime,
        "kind": key.kind or None,
        "size": key.size or None,
        "repository": key.repository,
        "runs": record.runs,
        "good": record.good,
        "landed": record.landed,
        "reverted": record.reverted,
        "rate": round(record.rate, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "enough": record.runs >= ENOUGH,
        "usd_each_landed": None if usd is None else round(usd, 4),
        "minutes_each_landed": None if minutes is None else round(minutes, 2),
        "unknown_runs": record.unknown,
    }
