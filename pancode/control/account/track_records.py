"""Reads track records out of accepted receipts, and chooses between agents by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from pancode.control.core import Core
from pancode.control.query.attempts import attempts_of
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


def read(core: Core) -> Mapping[WorkKey, TrackRecord]:
    with core.ports.ledger.transaction() as tx:
        ended = tx.find(Run, {"state": RunState.ENDED}, order="created_ms", descending=True, limit=LOOKED_AT)
        return summed(
            (key_of(run), record)
            for run in ended
            if _is_proven(tx, run) and (record := counted(run, attempts_of(tx, run))) is not None
        )


def _is_proven(tx: Transaction, run: Run) -> bool:
    """Its receipt was accepted: signed by its node, checked, countersigned and stored."""
    digest = run.result.get("receipt")
    stored = tx.get(StoredReceipt, digest) if isinstance(digest, str) else None
    return (
        stored is not None and stored.rejected is None and not stored.orphan and not run.terms.get("judges")
    )


def picker(core: Core) -> Pick:
    """Chooses between agents by their records of such tasks; the draw is one for the whole dispatch."""

    @cache
    def known() -> tuple[float, Mapping[WorkKey, TrackRecord]]:
        return int(core.ports.ids.token(4), 16) / 2**32, read(core)

    def pick(names: Sequence[str], task: str) -> tuple[str, str]:
        draw, records = known()
        return choose(names, by_agent(records, kind_of(task)), draw)

    return pick
