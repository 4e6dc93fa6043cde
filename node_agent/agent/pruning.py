"""Deletes journal entries of past epochs after 30 days, with the files that they still have."""

from __future__ import annotations

from contextlib import suppress

from node_agent.agent.world import World
from node_agent.attempt.ports import LinkDown, StepFailed
from node_agent.attempt.records import JournalRecord, prunable, without_the_old


def prune(world: World) -> None:
    """Idempotent. An entry whose files cannot be removed stays for the next time. DiskFull passes through."""
    journal, wall = world.journal, world.clock.wall_ms()
    epoch = journal.node().epoch
    for entry in journal.entries():
        if prunable(entry, epoch, wall) and _emptied(world, entry):
            journal.forget(entry.identity)
    with suppress(OSError, StepFailed):
        world.workspaces.trim(wall)
        world.sessions.trim(wall)
    journal.set_node(without_the_old(journal.node(), wall))


def _emptied(world: World, entry: JournalRecord) -> bool:
    """A rejected attempt kept its checkout until now, one that could not deliver what was put aside of it."""
    try:
        order = world.journal.order(entry.identity)
        world.workspaces.remove(entry.identity, order.workspace)
        world.workspaces.forget(entry.identity, order.workspace)
    except (StepFailed, LinkDown, OSError):
        return False
    return True
