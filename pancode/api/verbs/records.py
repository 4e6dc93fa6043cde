"""Verbs of records: receipts and their keys, the story of a run, the audit, the feed's events."""

from __future__ import annotations

from node_agent.wire.signing import SigningKey
from pancode.account.audit_filter import AuditFilter
from pancode.control import fleet_settings, keyring
from pancode.control.core import Core
from pancode.control.faces import Json, ListPage, ListPlace, Streams
from pancode.control.shapes import AuditRow, AuditVerdictShape, FeedShape, ReceiptRow, VerdictShape, WhyShape
from pancode.control.work import unit_of_work
from pancode.core.records import FeedEvent
from pancode.reports import story
from pancode.runs import chain, receipts


class RecordVerbs:
    """`run` names a run as in `RunVerbs`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    # -- acting ------------------------------------------------------------------------------------

    def rotate_key(self, fresh: SigningKey, by: str) -> None:
        """Sign with this key from now on; the caller has put it on disk."""
        with self._core.lock:
            keyring.rotate(self._core, fresh, by)

    def retire_keys(self) -> tuple[str, ...]:
        """Ids of former keys that no node needs any more."""
        with self._core.lock:
            return keyring.retire(self._core)

    def record_trust(self, level: str, what: str, **detail: object) -> None:
        """Put something about trust on record. It is written in the next round, and waits for nothing."""
        self._core.live.to_record.put((level, what, detail))

    def record_preset(self, name: str | None, before: str | None, by: str) -> None:
        """Put on record that a preset was applied, or (None) that none is applied any more."""
        fleet_settings.record_preset(self._core, name, before, by)

    # -- asking ------------------------------------------------------------------------------------

    def receipts(self, limit: int, after: ListPlace | None = None) -> ListPage[ReceiptRow]:
        """Receipts of the newest runs, newest first."""
        return receipts.receipts(self._core, limit, after)

    def receipt(self, run: str) -> Json:
        """A run's receipt with its envelope. NotFoundError."""
        return receipts.receipt(self._core, run)

    def verify(self, run: str, streams: Streams) -> VerdictShape:
        """Check a run's receipt again: signatures, chain, commit and logs."""
        return receipts.verify(self._core, run, streams)

    def export(self, run: str | None) -> Json:
        """All receipts, or those of one run, with the keys that prove them elsewhere."""
        return receipts.export(self._core, run)

    def keys(self) -> list[Json]:
        """The keys that are or were believed."""
        return receipts.keys(self._core)

    def chain(self, node: str) -> VerdictShape:
        """Check a node's chain of receipts."""
        return chain.chain(self._core, node)

    def why(self, run: str) -> WhyShape:
        """All decisions about a run, in order."""
        return story.why(self._core, run)

    def audit(self, wanted: AuditFilter, limit: int, after: ListPlace | None = None) -> ListPage[AuditRow]:
        """The newest entries of the audit that fit."""
        return story.audit(self._core, wanted, limit, after)

    def verify_audit(self) -> AuditVerdictShape:
        """Check the chain of the audit's entries. A break goes on record, so that others hear of it."""
        found = story.audit_verdict(self._core)
        if found["entry"] is not None:
            with unit_of_work(self._core) as work:
                if work.first(f"audit:{found['entry']}"):
                    detail = {"entry": found["entry"], "why": found["why"]}
                    work.audit("trust", "error", "the chain of the audit is broken", None, **detail)
        return found

    def event(self, one: FeedEvent) -> FeedShape:
        """An event of the feed as JSON."""
        return story.event(one)
