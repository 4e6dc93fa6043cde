"""Reads track records out of accepted receipts, and chooses between agents by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain

from pancode.control.account.attempts import attempts_of
from pancode.control.core import Core
from pancode.control.faces import Surroundings
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
from pancode.domain.agentchoice import Pick, tied
from pancode.domain.records import Run, RunState, StoredReceipt
from pancode.domain.request import DispatchRequest
from pancode.domain.requested import as_task
from pancode.ports import Transaction

KEPT_MS = 60_000
"""The greatest age of the records that a dispatch uses."""
_AT_ONCE = 250
LOOKED_AT = 5_000
"""The number of the newest ended runs that count: models and agents change, so old evidence says little."""


def read(core: Core) -> Mapping[WorkKey, TrackRecord]:
    """Read the records as they are now, in parts, so that others can use the ledger in between."""
    with core.ports.ledger.transaction() as tx:
        ended = tx.find(Run, {"state": RunState.ENDED}, order="created_ms", descending=True, limit=LOOKED_AT)
    parts = [_some(core, ended[at : at + _AT_ONCE]) for at in range(0, len(ended), _AT_ONCE)]
    return summed(chain.from_iterable(parts))


def _some(core: Core, runs: Sequence[Run]) -> list[tuple[WorkKey, TrackRecord]]:
    with core.ports.ledger.transaction() as tx:
        return [
            (key_of(run), record)
            for run in runs
            if _is_proven(tx, run) and (record := counted(run, attempts_of(tx, run))) is not None
        ]


def lately(core: Core) -> Mapping[WorkKey, TrackRecord]:
    """The records, at most KEPT_MS old, so that a burst of dispatches reads them once."""
    known, now = core.live.track_records, core.ports.clock.boot_ms()
    if known is None or now - known[0] >= KEPT_MS:
        known = core.live.track_records = (now, read(core))
    return known[1]


def _is_proven(tx: Transaction, run: Run) -> bool:
    """Its receipt was accepted: signed by its node, checked, countersigned and stored."""
    digest = run.result.get("receipt")
    stored = tx.get(StoredReceipt, digest) if isinstance(digest, str) else None
    return stored is not None and stored.rejected is None and not stored.orphan and run.judges is None


def picker(core: Core) -> Pick:
    """Chooses between agents by their records of such tasks; the draw is one for the whole dispatch."""

    @cache
    def known() -> tuple[float, Mapping[WorkKey, TrackRecord]]:
        return int(core.ports.ids.token(4), 16) / 2**32, lately(core)

    def pick(names: Sequence[str], task: str) -> tuple[str, str]:
        draw, records = known()
        return choose(names, by_agent(records, kind_of(task)), draw)

    return pick


def early_picker(core: Core, around: Surroundings, request: DispatchRequest) -> Pick:
    """It chooses once here, where nothing is locked yet, if this task has several agents that fit as well."""
    pick = picker(core)
    if request.agent is None:
        task, mode = as_task(request).task, request.mode or around.defaults(request.project).mode
        names = tied(around.agents(request.project), task, mode)
        if names:
            pick(names, task)
    return pick
