"""The list of runs, and its filters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from node_agent.wire.failure import Outcome
from pancode.control.core import Core
from pancode.control.faces import MOST_ROWS, ListPage, ListPlace
from pancode.control.paging import ListSearch, page
from pancode.control.run import node_of, run_shape
from pancode.control.shapes import RunShape
from pancode.core.names import not_found
from pancode.core.ports import Transaction
from pancode.core.records import Run, RunState
from pancode.errors import UsageError

_SPAN = re.compile(r"(\d{1,9})(s|m|h|d|w)")
_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_ENDS = {one.value for one in Outcome if one is not Outcome.SUPERSEDED}
_WORDS = sorted({*_ENDS, *(state.value for state in RunState if state is not RunState.ENDED)})


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of runs; None: anything. `outcome` may be a state of one that has not ended."""

    node: str | None = None
    agent: str | None = None
    outcome: str | None = None
    text: str | None = None
    since_ms: int = 0
    workflow: str | None = None

    @classmethod
    def of(cls, query: Mapping[str, str], wall_ms: int) -> Filter:
        """The filters in the words of a request. NotFoundError, UsageError."""
        outcome = query.get("outcome")
        if outcome is not None and outcome not in _WORDS:
            raise not_found("outcome", outcome, _WORDS, f"one of {', '.join(_WORDS)}")
        since = query.get("since")
        since_ms = 0 if since is None else moment_ms(since, wall_ms)
        text, workflow = query.get("text"), query.get("workflow")
        return cls(query.get("node"), query.get("agent"), outcome, text, since_ms, workflow)

    def fits(self, tx: Transaction, run: Run) -> bool:
        if self.workflow not in (None, run.workflow):
            return False
        if self.agent not in (None, run.agent) or self.outcome not in (None, run.outcome, run.state):
            return False
        if self.text is not None and self.text.casefold() not in _task(run).casefold():
            return False
        return self.node is None or self.node == node_of(tx, run)


def runs(core: Core, limit: int, wanted: Filter, after: ListPlace | None) -> ListPage[RunShape]:
    """The newest that fit, newest first, of MOST_ROWS from that place on."""
    with core.ports.ledger.transaction() as tx:
        found = page(tx, _search(tx, wanted), min(limit, MOST_ROWS), after)
        return ListPage([run_shape(core, tx, run) for run in found.rows], found.last)


def since_ms(core: Core, text: str | None) -> int:
    """The time that a person names, as `moment_ms`; None: of all time."""
    return 0 if text is None else max(0, moment_ms(text, core.wall_ms()))


def moment_ms(text: str, wall_ms: int) -> int:
    """`90m`, `2h`, `3d`: so long ago; `2026-11-22`, `2026-11-22T08:30`: local time unless it says where."""
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return wall_ms - int(span[1]) * _MS[span[2]]
    try:
        return round(datetime.fromisoformat(text.strip()).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as exc:
        fix = "write 90m, 2h, 3d, 2026-11-22 or 2026-11-22T08:30"
        raise UsageError(f"{text!r} is not a time", why=str(exc), fix=fix, code="bad_value") from exc


def _search(tx: Transaction, wanted: Filter) -> ListSearch[Run]:
    if wanted == Filter():
        return ListSearch(Run, "created_ms")
    since = wanted.since_ms or None
    return ListSearch(Run, "created_ms", fits=partial(wanted.fits, tx), since=since, most=MOST_ROWS)


def _task(run: Run) -> str:
    return run.task or " ".join(run.argv or ())
