"""Asks nodes for their attempts after a restore, and decides whether work may begin meanwhile."""

from __future__ import annotations

from functools import partial

from node_agent.wire.control import ReportAttempts
from pancode.kernel.records import Node
from pancode.runs.core import Core
from pancode.runs.restored.hold import AskedNode, LedgerHold, begin_hold, read_hold
from pancode.runs.unit_of_work import Work, fall_behind, unit_of_work

MARGIN_MS = 86_400_000
"""How long before the newest event of the restored ledger the reports begin: clocks differ, and a receipt
that was on its way when the copy was taken is older than it."""
AGAIN_MS = 30_000
"""How long after a request a node is asked again."""
PROOF_MS = 60_000
"""How long nothing begins because a node names a job that the ledger lacks and has not reported it yet."""


def ask_nodes(core: Core) -> None:
    """Ask each node that has not reported all its attempts since a restore for its next page."""
    boot, journals = core.ports.clock.boot_ms(), core.live.journals
    with core.ports.ledger.transaction() as tx:
        hold = read_hold(tx)
    if hold is None and not journals.unproven:
        return
    for tag, node in core.enrolled().items():
        asked = find_asked(core, hold, tag)
        is_due = boot - journals.asked_ms.get(tag, -AGAIN_MS) >= AGAIN_MS
        if asked is not None and can_report(core, tag) and is_due:
            journals.asked_ms[tag] = boot
            since_ms = 0 if hold is None else max(0, hold.since_ms - MARGIN_MS)
            with unit_of_work(core) as work:
                work.send(node.name, ReportAttempts(since_ms=since_ms, after=asked.after))


def can_report(core: Core, tag: str) -> bool | None:
    """Whether the node agent can report attempts; one of version 0.1.0 cannot. None: it was not heard yet."""
    last = core.live.contacts.last_heartbeats.get(tag)
    return None if last is None else last.heartbeat.ask.reports


def find_asked(core: Core, hold: LedgerHold | None, tag: str) -> AskedNode | None:
    """Return how far the node has reported; None if it has nothing to report."""
    if tag in core.live.journals.unproven:
        return AskedNode(after=core.live.journals.unproven[tag][1])
    return None if hold is None or hold.has_heard(tag) else hold.find_progress(tag)


def note_unknown(work: Work, node: Node) -> None:
    """Process that the node's journal names a job that this ledger lacks. Its report will prove that the
    ledger was restored; the word of a node that cannot report is taken for it."""
    core, hold, tag = work.core, read_hold(work.tx), node.tag or ""
    if tag in core.live.journals.disproved:
        return
    if hold is not None and not hold.has_heard(tag):
        return  # It is asked already.
    is_able = can_report(core, tag)
    if is_able:
        core.live.journals.unproven.setdefault(tag, (core.ports.clock.boot_ms(), None))
        core.live.journals.asked_ms.pop(tag, None)
    elif hold is None and is_able is False:
        note_restored(work, f"{node.name} has a job that the ledger lacks")


def note_restored(work: Work, why: str) -> None:
    """Process that the ledger was put back: its coordinator ends, and holds the fleet until a user takes it
    up; in a process that does not end, what is pending is held."""
    if work.core.ends_if_behind:
        work.after(partial(fall_behind, work.core, why))
    else:
        begin_hold(work, why, has_led=True)


def may_begin_work(core: Core) -> bool:
    """Whether no node is about to prove that the ledger was restored; a node that does not answer delays new
    work only for a while."""
    boot, unproven = core.ports.clock.boot_ms(), core.live.journals.unproven
    for tag, (since_ms, _) in list(unproven.items()):
        if boot - since_ms >= PROOF_MS:
            del unproven[tag]
            core.live.journals.disproved.add(tag)
    return not unproven


def waits_for_report(work: Work, node: Node) -> bool:
    """Whether the node will report its attempts, so that a receipt that the ledger lacks can wait."""
    tag = node.tag or ""
    is_able = can_report(work.core, tag)
    is_asked = find_asked(work.core, read_hold(work.tx), tag) is not None
    return is_able is None or (is_able and is_asked)
