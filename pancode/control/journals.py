"""What a node's inventory of its journal means for our fences: taken, never taken, forgotten, not ours."""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire.clock import FleetTime
from node_agent.wire.control import Tombstone
from node_agent.wire.inventory import Inventory, JournalEntry
from node_agent.wire.marks import FINAL, Mark
from pancode.control.core import Core, open_fences
from pancode.control.moved import load, save, with_vain
from pancode.control.pulse import lose
from pancode.control.undo import all_or_nothing
from pancode.domain.lifecycle import never_accepted
from pancode.domain.orders import identity_of, start_by_of
from pancode.domain.records import Fence, FenceState, Node, Run, RunState, WaitReason
from pancode.ports import Transaction

_ANSWERED = (Mark.ACKNOWLEDGED, Mark.REJECTED)
FENCES_AHEAD = 100_000
"""What a node names beyond it was never signed, and would leave the run without numbers."""
_FORGOTTEN = "the node's journal no longer knows this attempt"


def take(core: Core, node: Node, inventory: Inventory) -> None:
    """The node's whole journal: frees offers that it never took, and allows new ones."""
    if inventory.fleet != core.fleet or inventory.node != node.tag or inventory.at.epoch != core.epoch:
        return
    named = {str(entry.identity): entry for entry in inventory.entries}
    strays: dict[str, int] = {}
    with all_or_nothing(core) as tx:
        for fence in open_fences(tx, node=node.name):
            if fence.tag == node.tag:
                _compare(core, tx, fence, named.get(str(identity_of(fence))), inventory.at)
        for entry in inventory.entries:
            _strange(core, tx, node, entry, strays)
    told = core.live.inventories.get(inventory.node)
    if told is None or not inventory.at.is_past(told[0]):
        core.live.inventories[inventory.node] = (inventory.at, inventory.nonce)
        _keep_strays(core, inventory.node, strays)


def _compare(core: Core, tx: Transaction, fence: Fence, entry: JournalEntry | None, at: FleetTime) -> None:
    """One open fence against what the journal says of it."""
    if entry is not None and _knows(entry, fence):
        core.live.doubted.pop(str(identity_of(fence)), None)
    elif not start_by_of(fence).is_past(at):
        return
    elif fence.state is FenceState.OFFERED and (entry is None or entry.order != fence.digest):
        trio = load(tx, identity_of(fence))
        if trio is not None:
            save(core, tx, trio, never_accepted(with_vain(tx, trio), core.wall_ms()))
    else:
        _doubt(core, tx, fence)


def _knows(entry: JournalEntry, fence: Fence) -> bool:
    """Not a journal that began anew on an empty disk, and refused the order when it was delivered once more:
    it has less to tell of it than was heard before, and its refusal comes under a number that is used up."""
    if entry.order != fence.digest or entry.mark in _ANSWERED:
        return False
    return entry.mark is not Mark.REFUSED or entry.last_event >= fence.cursor


def _doubt(core: Core, tx: Transaction, fence: Fence) -> None:
    """It had accepted, and its journal knows it no more, or as long answered: a disk or a ledger was lost.

    Nobody can say whether it still runs; when the node has said so for the whole deadline, it is lost.
    """
    key = str(identity_of(fence))
    since = core.live.doubted.setdefault(key, core.ports.clock.boot_ms())
    if core.silent_since(since) >= core.rules.deadlines.lost_ms:
        core.live.doubted.pop(key)
        lose(core, tx, fence, _FORGOTTEN)
        return
    run = tx.get(Run, fence.run)
    if run is not None and run.reason != _FORGOTTEN and run.state is not RunState.ENDED:
        tx.put(replace(run, reason=_FORGOTTEN, waits=WaitReason.FORGOTTEN))
        core.tell(tx, run.id, "node", fence.node, "unknown", _FORGOTTEN)


def _strange(core: Core, tx: Transaction, node: Node, entry: JournalEntry, strays: dict[str, int]) -> None:
    """An attempt that this ledger does not know, of a run that it knows: the ledger was restored."""
    run, number = tx.get(Run, entry.identity.run), entry.identity.fence
    fence = tx.get(Fence, entry.identity.run, number)
    if run is None or (fence is not None and fence.digest == entry.order):
        return
    if number > core.highest_fence(run) + FENCES_AHEAD:
        raise ValueError(f"{entry.identity}: the newest fence of that run is {run.fence}")
    core.live.floors[run.id] = max(number, core.live.floors.get(run.id, 0))
    if entry.mark in FINAL or run.state is RunState.ENDED:
        return
    strays[run.id] = max(number, strays.get(run.id, 0))
    if core.live.strays.get(run.id, {}).get(node.tag or "", 0) < number:
        core.issue(tx, node, Tombstone(run=run.id, up_to_fence=number, reason="the ledger was restored"))
        core.tell(
            tx, run.id, "node", node.name, "unknown", f"fence {number} runs there, unknown to the ledger"
        )


def _keep_strays(core: Core, tag: str, strays: dict[str, int]) -> None:
    for found in core.live.strays.values():
        found.pop(tag, None)
    for run, number in strays.items():
        core.live.strays.setdefault(run, {})[tag] = number
