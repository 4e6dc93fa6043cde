"""Compares a node's journal with our fences: accepted, never accepted, forgotten, not ours."""

from __future__ import annotations

from functools import partial

from node_agent.wire.clock import FleetTime
from node_agent.wire.identity import FINAL, Mark
from node_agent.wire.node import Inventory, JournalEntry
from pancode.control.core import Core, open_fences
from pancode.control.work import Work, unit_of_work
from pancode.core.records import Fence, FenceState, Node, Run, RunState
from pancode.life.orders import identity_of, start_by_of
from pancode.life.signals import Doubted, Lost, NotTaken, UnknownFence

_ANSWERED = (Mark.ACKNOWLEDGED, Mark.REJECTED)
FENCES_AHEAD = 100_000
"""Events beyond it were never signed, and would leave the run without numbers."""
_FORGOTTEN = "the node's journal no longer knows this attempt"


def take(core: Core, node: Node, inventory: Inventory) -> None:
    """The node's whole journal: frees offers that it never took, and allows new ones."""
    if inventory.fleet != core.fleet or inventory.node != node.tag or inventory.at.epoch != core.epoch:
        return
    named = {str(entry.identity): entry for entry in inventory.entries}
    strays: dict[str, int] = {}
    with unit_of_work(core) as work:
        for fence in open_fences(work.tx, node=node.name):
            if fence.tag == node.tag:
                _compare(work, fence, named.get(str(identity_of(fence))), inventory.at)
        for entry in inventory.entries:
            _strange(work, node, entry, strays)
    last = core.live.journals.inventories.get(inventory.node)
    if last is None or not inventory.at.is_past(last[0]):
        core.live.journals.inventories[inventory.node] = (inventory.at, inventory.nonce)
        _keep_strays(core, inventory.node, strays)


def _compare(work: Work, fence: Fence, entry: JournalEntry | None, at: FleetTime) -> None:
    """One open fence against what the journal says of it."""
    if entry is not None and _knows(entry, fence):
        work.after(partial(work.core.live.journals.doubted.pop, str(identity_of(fence)), None))
    elif not start_by_of(fence).is_past(at):
        return
    elif fence.state is FenceState.OFFERED and (entry is None or not _took(entry, fence)):
        work.signal_fence(fence, NotTaken())
    else:
        _doubt(work, fence)


def _took(entry: JournalEntry, fence: Fence) -> bool:
    return entry.order == fence.digest and entry.mark is not Mark.REFUSED


def _knows(entry: JournalEntry, fence: Fence) -> bool:
    """Whether the journal answers for the fence. A refusal under a used number is never heard: it comes from
    a journal that began anew on an empty disk and refused the order when it was delivered again, or from a
    lie."""
    if entry.order != fence.digest or entry.mark in _ANSWERED:
        return False
    return entry.mark is not Mark.REFUSED or entry.last_event > fence.cursor


def _doubt(work: Work, fence: Fence) -> None:
    """It had accepted, and its journal knows it no more, or as long answered: a disk or a ledger was lost.

    When the node has said so for the whole deadline, it is lost.
    """
    core, key = work.core, str(identity_of(fence))
    since = core.live.journals.doubted.get(key, core.ports.clock.boot_ms())
    if core.silent_since(since) < core.rules.deadlines.lost_ms:
        work.after(partial(core.live.journals.doubted.__setitem__, key, since))
        work.signal_fence(fence, Doubted(_FORGOTTEN))
    else:
        work.after(partial(core.live.journals.doubted.pop, key, None))
        work.signal_fence(fence, Lost(_FORGOTTEN))


def _strange(work: Work, node: Node, entry: JournalEntry, strays: dict[str, int]) -> None:
    """An attempt that this ledger does not know, of a run that it knows: the ledger was restored."""
    core, number = work.core, entry.identity.fence
    run = work.tx.get(Run, entry.identity.run)
    fence = work.tx.get(Fence, entry.identity.run, number)
    if run is None or (fence is not None and fence.digest == entry.order):
        return
    if number > core.highest_fence(run) + FENCES_AHEAD:
        raise ValueError(f"{entry.identity}: the newest fence of that run is {run.fence}")
    floors = core.live.journals.floors
    work.after(lambda: floors.__setitem__(run.id, max(number, floors.get(run.id, 0))))
    if entry.mark in FINAL or run.state is RunState.ENDED:
        return
    strays[run.id] = max(number, strays.get(run.id, 0))
    if core.live.journals.strays.get(run.id, {}).get(node.tag or "", 0) < number:
        work.signal(run, UnknownFence(node.name, number))


def _keep_strays(core: Core, tag: str, strays: dict[str, int]) -> None:
    for found in core.live.journals.strays.values():
        found.pop(tag, None)
    for run, number in strays.items():
        core.live.journals.strays.setdefault(run, {})[tag] = number
