"""Verbs of queues: list, pause, resume."""

from __future__ import annotations

from pancode.control.core import Core
from pancode.control.fleet_settings import put_setting
from pancode.control.shapes import QueuesShape
from pancode.core.records import Node
from pancode.fleet import inventory
from pancode.runs.queue import PAUSED, pause_key, queues


class QueueVerbs:
    def __init__(self, core: Core) -> None:
        self._core = core

    def show(self, name: str | None) -> QueuesShape:
        """All queues, or the one of this name: a pool's or a node's. NotFoundError."""
        return queues(self._core, name)

    def pause(self, name: str | None, reason: str | None, by: str) -> None:
        """Give out nothing from a queue, or (reason None) give out again. No name: the whole fleet.

        NotFoundError.
        """
        core = self._core
        with core.lock:
            node = self._node_of(name)
            if name is None:
                put_setting(core, PAUSED, reason, by)
            elif node is not None:
                inventory.pause(core, node, reason, by)
            else:
                with core.ports.ledger.transaction() as tx:
                    key = pause_key(tx, name)
                put_setting(core, key, reason, by)

    def _node_of(self, name: str | None) -> str | None:
        """The node whose queue is meant, by the node's name or by the queue's."""
        with self._core.ports.ledger.transaction() as tx:
            named = (n.name for n in tx.find(Node) if name is not None and name in (n.name, f"node.{n.tag}"))
            return next(named, None)
