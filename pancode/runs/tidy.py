"""Keeps RQ's view of Redis true: jobs of closed fences leave the node queues and registries.

A node writes into its own registry as it likes. So the ledger says which jobs are over; the names there are
read in bounded pages, of one node in a round; a node that writes what no node agent writes is quarantined.
"""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from pancode.control import keyring
from pancode.control.core import Core, open_fences
from pancode.control.work import unit_of_work
from pancode.core.ports import JobToClose, NamedJobs, Transaction
from pancode.core.quota import too_many
from pancode.core.records import Closed, Fence, FenceState
from pancode.fleet.quarantine import shut_out

EVERY_MS = 60_000
NOT_ITS_OWN = "in Redis, it named as started what is no job of its own"


def tidy(core: Core) -> None:
    """Close the jobs of fences that are closed: those of the last round now, whatever is left each minute."""
    if core.live.sweep.closed:
        with core.ports.ledger.transaction() as tx:
            over = _closed(core, tx)
        _close(core, over)
        core.live.sweep.closed.clear()
    tag = _due(core)
    if tag is not None:
        _look_through(core, tag)


def _due(core: Core) -> str | None:
    """The next one of those whose names are looked through in this sweep; a sweep begins each minute."""
    boot, sweep = core.ports.clock.boot_ms(), core.live.sweep
    if not sweep.left and boot >= sweep.due_ms:
        sweep.left, sweep.due_ms = sorted(_tags(core)), boot + EVERY_MS
    return sweep.left.pop() if sweep.left else None


def _tags(core: Core) -> set[str]:
    """The tags of all node keys, also of former ones: a node with a new key leaves the jobs of its old key
    behind."""
    with core.ports.ledger.transaction() as tx:
        known = keyring.node_tags(tx)
    nodes = core.enrolled()
    return (known | nodes.keys()) - {tag for tag, node in nodes.items() if node.quarantined is not None}


def _look_through(core: Core, tag: str) -> None:
    """One page of what its queue and its registry name."""
    page = core.ports.bus.named_jobs(tag, core.live.sweep.pages.get(tag, 0))
    core.live.sweep.pages[tag] = page.cursor
    with core.ports.ledger.transaction() as tx:
        over, strange = _over(tx, tag, page)
        odd = too_many(page.total, len(open_fences(tx, tag=tag)))
    core.ports.bus.drop_named(tag, strange)
    _close(core, over)
    if odd or strange:
        _blame(core, {tag: odd or NOT_ITS_OWN})


def _close(core: Core, over: list[JobToClose]) -> None:
    _blame(core, core.ports.bus.close_jobs(over) if over else {})


def _blame(core: Core, odd: dict[str, str]) -> None:
    """Only the node's own user can have written it."""
    if not odd:
        return
    nodes = core.enrolled()
    for tag, why in odd.items():
        node = nodes.get(tag)
        if node is not None and node.quarantined is None:
            with unit_of_work(core) as work:
                shut_out(work, node, why)


def _job_of(tag: str, identity: AttemptId, fence: Fence | None) -> JobToClose:
    ok = fence is not None and fence.closed is Closed.RECEIPT
    why = "receipt delivered" if ok else f"closed: {fence.closed if fence else 'unknown fence'}"
    return JobToClose(tag, identity, ok, why)


def _closed(core: Core, tx: Transaction) -> list[JobToClose]:
    """The jobs of fences that really are closed: the commit that closed one may have failed."""
    found = [(identity, tx.get(Fence, identity.run, identity.fence)) for identity in core.live.sweep.closed]
    return [_job_of(f.tag, i, f) for i, f in found if f is not None and f.state is FenceState.CLOSED]


def _over(tx: Transaction, tag: str, page: NamedJobs) -> tuple[list[JobToClose], list[bytes]]:
    """Jobs of the page whose fence is closed or unknown here; and entries that are no names of its jobs."""
    over, strange = [], []
    for entry in (*(job.encode() for job in page.waiting), *page.started):
        owner = keys.job_owner(entry.partition(b":")[0].decode("ascii", "replace"))
        if owner is None or owner[0] != tag:
            strange.append(entry)
        elif (job := _job_over(tx, tag, owner[1])) is not None:
            over.append(replace(job, entry=entry))
    return over, [entry for entry in strange if entry in page.started]


def _job_over(tx: Transaction, tag: str, identity: AttemptId) -> JobToClose | None:
    """None while the ledger has an open fence of it for this node."""
    fence = tx.get(Fence, identity.run, identity.fence)
    mine = fence if fence is not None and fence.tag == tag else None
    return None if mine is not None and mine.state is not FenceState.CLOSED else _job_of(tag, identity, mine)
