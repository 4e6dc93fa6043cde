"""Reports attempts to a coordinator whose ledger was restored, also those that it acknowledged before."""

from __future__ import annotations

from contextlib import suppress

from node_agent.agent.world import World
from node_agent.attempt.ports import LinkDown
from node_agent.attempt.records import KEEP_MS
from node_agent.wire.control import ReportAttempts
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import MOST_REPORTED, AttemptReport, AttemptsReport

PAGE_BYTES = 1 << 20
"""A page ends with the entry that reaches this size, so that its envelope does not exceed the limit."""


def send_report(world: World, asked: ReportAttempts) -> None:
    """Send the page of attempts that the coordinator asks for. It asks again if the page does not arrive."""
    journal = world.journal
    after = None if asked.after is None else _place_of(asked.after)
    due = sorted(
        (one for one in journal.entries() if one.wall_ms >= asked.since_ms and not one.damaged),
        key=lambda one: _place_of(one.identity),
    )
    left = [one for one in due if after is None or _place_of(one.identity) > after]
    entries, size = list[AttemptReport](), 0
    for one in left[:MOST_REPORTED]:
        order, receipt = journal.order(one.identity), journal.receipt(one.identity)
        kept = not one.final or world.workspaces.has_result(one.identity)
        entries.append(AttemptReport(mark=one.mark, job=order, receipt=receipt, kept=kept))
        size += len(order) + len(receipt or "")
        if size >= PAGE_BYTES:
            break
    page = AttemptsReport(
        fleet=world.node.fleet,
        node=world.node.tag,
        since_ms=asked.since_ms,
        after=asked.after,
        entries=tuple(entries),
        next=left[len(entries) - 1].identity if len(entries) < len(left) else None,
        complete_since_ms=max(asked.since_ms, world.clock.wall_ms() - KEEP_MS, 0),
    )
    with suppress(LinkDown):
        world.uplink.send(page.signed(world.key).model_dump_json())


def _place_of(identity: AttemptId) -> tuple[str, int, int]:
    return identity.run, identity.attempt, identity.lease
