"""The thread that sends traces, triggered by feed events; it stores its position in the feed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from pancode.kernel.errors import UnavailableError
from pancode.kernel.records import Attempt, EventKind, FeedEvent, Run, Setting
from pancode.notices.traces.spans import RunSpan, landing_span, spans_of
from pancode.runs.core import Core
from pancode.runs.feed_thread import FeedThread
from pancode.runs.unit_of_work import unit_of_work

log = logging.getLogger("pancode.telemetry")
MARK = "telemetry"
"""Name of the setting with the number of the newest processed event."""
AGAIN_S, BEHIND = 30.0, 500


class SpanExport(Protocol):
    """A receiver of trace spans."""

    def send(self, spans: Sequence[RunSpan]) -> None:
        """Send spans. UnavailableError if the caller must try again; a repeated span is recognized."""


class Tracing(FeedThread):
    """Sends the spans of ended runs, with retries for as long as the feed has their events."""

    def __init__(self, core: Core, export: SpanExport, with_task: bool = False) -> None:
        super().__init__(core, "telemetry", AGAIN_S)
        self._export, self._with_task = export, with_task
        self._read: int | None = None

    def run_pass(self) -> float | None:
        return None if self.send_spans() else self._wait_turn()

    def send_spans(self) -> bool:
        """Send the spans of the runs that have ended; return whether all were sent."""
        core = self._core
        with core.ports.ledger.transaction() as tx:
            known = tx.get(Setting, MARK)
        last = self._read or (known.value if known is not None and isinstance(known.value, int) else None)
        events = core.feed.since(last) if last is not None else None
        if events is None:
            self._keep(core.feed.last)
            return True
        spans = [span for event in events for span in self._make_spans(event)]
        if spans:
            try:
                self._export.send(spans)
            except UnavailableError as error:
                log.warning("traces wait: %s: %s", error, error.why)
                return False
        if spans or len(events) > BEHIND:
            self._keep(events[-1].number)
        elif events:
            self._read = events[-1].number
        return True

    def _make_spans(self, event: FeedEvent) -> Sequence[RunSpan]:
        if event.kind not in (EventKind.RUN_ENDED, EventKind.RUN_LANDING) or event.run is None:
            return ()
        if event.kind is EventKind.RUN_LANDING and event.data.get("status") == "waiting":
            return ()
        core = self._core
        with core.ports.ledger.transaction() as tx:
            run = tx.get(Run, event.run)
            attempts = tx.find(Attempt, {"run": event.run})
        if run is None:
            return ()
        if event.kind is EventKind.RUN_LANDING:
            return (landing_span(run, run.finished_ms or event.at_ms, event.at_ms),)
        mine = [one for one in core.feed.newest(core.feed.most) if one.run == run.id]
        return spans_of(run, attempts, mine, self._with_task)

    def _keep(self, number: int) -> None:
        core = self._core
        with unit_of_work(core) as work:
            work.tx.put(Setting(MARK, number, core.wall_ms(), "coordinator"))
        self._read = number
