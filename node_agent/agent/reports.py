"""Reports attempts to a coordinator whose ledger was restored, also those that it acknowledged before."""

from __future__ import annotations

from collections.abc import Callable

from node_agent.attempt.claims import Self
from node_agent.attempt.ports import JournalPort
from node_agent.attempt.records import KEEP_MS
from node_agent.wire.control import ReportAttempts
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import MOST_REPORTED, AttemptReport, AttemptsReport

PAGE_BYTES = 1 << 20
"""A page ends with the entry that reaches this size, so that its envelope does not exceed the limit."""


def make_report(
    journal: JournalPort,
    node: Self,
    asked: ReportAttempts,
    wall_ms: int,
    has_result: Callable[[AttemptId], bool],
) -> AttemptsReport:
    """Return the page of attempts that the coordinator asks for."""
    after = None if asked.after is None else _place_of(asked.after)
    due = sorted(
        (one for one in journal.entries() if one.wall_ms >= asked.since_ms and not one.damaged),
        key=lambda one: _place_of(one.identity),
    )
    left = [one for one in due if after is None or _place_of(one.identity) > after]
    entries, size = list[AttemptReport](), 0
    for one in left[:MOST_REPORTED]:
        order, receipt = journal.order(one.identity), journal.receipt(one.identity)
        kept = not one.final or has_result(one.identity)
        entries.append(AttemptReport(mark=one.mark, job=order, receipt=receipt, kept=kept))
        size += len(order) + len(receipt or "")
        if size >= PAGE_BYTES:
            break
    return AttemptsReport(
        fleet=node.fleet,
        node=node.tag,
        since_ms=asked.since_ms,
        after=asked.after,
        entries=tuple(entries),
        next=left[len(entries) - 1].identity if len(entries) < len(left) else None,
        complete_since_ms=max(asked.since_ms, wall_ms - KEEP_MS, 0),
    )


def _place_of(identity: AttemptId) -> tuple[str, int, int]:
    return identity.run, identity.attempt, identity.lease
