"""Takes a machine out of the fleet's work until a person has looked at it; what runs there goes on."""

from __future__ import annotations

from dataclasses import replace

from pancode.control.core import Core
from pancode.domain.records import Fence, FenceState, Node, Run, RunState, WaitReason
from pancode.ports import Transaction


def shut_out(core: Core, tx: Transaction, node: Node, fences: list[Fence], why: str) -> None:
    """On record first; what it has in flight goes on there, and is told why nothing is heard of it."""
    tx.put(replace(node, quarantined=why))
    core.audit(tx, "trust", "error", "node quarantined", node=node.name, why=why)
    words = f"{node.name} is quarantined: {why}"
    for fence in fences:
        core.tell(tx, fence.run, "node", node.name, "quarantined", words)
        run = tx.get(Run, fence.run)
        if run is not None and run.state is RunState.PENDING and fence.state is FenceState.OFFERED:
            words = f"offered to {node.name}, which is quarantined: {why}"
            tx.put(replace(run, reason=words, waits=WaitReason.QUARANTINED))
