"""Track records: who did which kind of work how well, out of accepted receipts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from pancode.control.core import Core
from pancode.control.query.account_shapes import TrackRecordRow
from pancode.domain import books
from pancode.domain.account.track_records import (
    TrackRecord,
    WorkKey,
    by_agent,
    choose,
    counted,
    key_of,
    kind_of,
    summed,
)
from pancode.domain.agentchoice import Pick
from pancode.domain.records import Run, RunState, StoredReceipt
from pancode.ports import Transaction

LOOKED_AT = 5_000
"""Of the newest ended runs: models and agents change, and old evidence says little of them."""


def track_records(core: Core, agent: str | None, rankings: bool, limit: int) -> list[TrackRecordRow]:
    """Those with the best smoothed rate first. `rankings`: by agent, model and runtime alone."""
    found = read(core)
    if rankings:
        found = summed((WorkKey(k.agent, k.model, k.runtime, "", None), r) for k, r in found.items())
    shown = [(key, record) for key, record in found.items() if agent in (None, key.agent)]
    shown.sort(key=lambda pair: (-pair[1].rate, -pair[1].runs, pair[0].agent, pair[0].model or ""))
    return [_row(key, record) for key, record in shown[:limit]]


def read(core: Core) -> Mapping[WorkKey, TrackRecord]:
    with core.ports.ledger.transaction() as tx:
        ended = tx.find(Run, {"state": RunState.ENDED}, order="created_ms", descending=True, limit=LOOKED_AT)
        return summed(
            (key_of(run), record)
            for run in ended
            if (record := counted(run)) is not None and _is_proven(tx, run)
        )


def _is_proven(tx: Transaction, run: Run) -> bool:
    """Its receipt was accepted: signed by its node, checked, countersigned and stored."""
    digest = run.result.get("receipt")
    stored = tx.get(StoredReceipt, digest) if isinstance(digest, str) else None
    return (
        stored is not None and stored.rejected is None and not stored.orphan and not run.terms.get("judges")
    )


def _row(key: WorkKey, record: TrackRecord) -> TrackRecordRow:
    low, high = record.interval
    changes = record.landed or None
    usd = None if changes is None or record.unknown else float(record.usd / changes)
    minutes = None if changes is None else record.ms / books.MINUTE_MS / changes
    return {
        "agent": key.agent,
        "model": key.model,
        "runtime": key.runtime,
        "kind": key.kind or None,
        "repository": key.repository,
        "runs": record.runs,
        "good": record.good,
        "landed": record.landed,
        "rate": round(record.rate, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "usd_each_landed": None if usd is None else round(usd, 4),
        "minutes_each_landed": None if minutes is None else round(minutes, 2),
        "unknown_runs": record.unknown,
    }


def picker(core: Core) -> Pick:
    """Chooses between agents by their records of such tasks; the draw is one for the whole dispatch."""

    @cache
    def known() -> tuple[float, Mapping[WorkKey, TrackRecord]]:
        return int(core.ports.ids.token(4), 16) / 2**32, read(core)

    def pick(names: Sequence[str], task: str) -> tuple[str, str]:
        draw, records = known()
        return choose(names, by_agent(records, kind_of(task)), draw)

    return pick
