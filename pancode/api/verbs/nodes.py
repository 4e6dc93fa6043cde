"""Verbs of nodes: add, enrol, change, drain, release, revoke; the fleet as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pancode.control.core import Core, open_fences
from pancode.control.faces import Json, NodeChange
from pancode.control.fleet_settings import put_setting
from pancode.control.shapes import FleetShape
from pancode.core.figures import Sample, exposition
from pancode.core.records import Node
from pancode.errors import NotFoundError
from pancode.fleet import fleet, inventory, quota
from pancode.nodes.node import Linked, NodeView
from pancode.reports.figures import FIGURES, figures


class NodeVerbs:
    """`name` is a node's name; NotFoundError where the fleet has none of that name."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._since = fleet.Since()

    # -- acting ------------------------------------------------------------------------------------

    def add(self, node: Node) -> None:
        """Put a machine into the inventory. ConflictError when the name is taken."""
        with self._core.lock:
            inventory.add(self._core, node)

    def enrol(self, name: str, public_key: str) -> Node:
        """Believe this key from now on for that machine."""
        with self._core.lock:
            return inventory.enrol(self._core, name, public_key)

    def change(self, name: str, edit: Callable[[Node], Node]) -> Node:
        """Change a machine's labels, slots, pause or way to reach it."""
        with self._core.lock:
            return inventory.change(self._core, name, edit)

    def adjust(self, name: str, wanted: NodeChange, by: str) -> Node:
        """Change the slots and labels that `node add` has set. UsageError."""
        with self._core.lock:
            return inventory.adjust(self._core, name, wanted, by)

    def note_login(self, name: str, runtime: str, by: str, outcome: str | None = None) -> None:
        """Record that a vendor's login was opened on a machine, or how it ended."""
        with self._core.lock:
            inventory.note_login(self._core, name, runtime, by, outcome)

    def drain(self, name: str, reason: str | None, by: str) -> Node:
        """Start nothing new on a machine, or take it back (reason None)."""
        with self._core.lock:
            return inventory.drain(self._core, name, reason, by)

    def drain_fleet(self, reason: str | None, by: str) -> None:
        """Admit no new run, or (reason None) admit runs again."""
        put_setting(self._core, "draining", reason, by)

    def pause(self, name: str, reason: str | None, by: str) -> Node:
        """Give a machine no new work, or (reason None) work again."""
        with self._core.lock:
            return inventory.pause(self._core, name, reason, by)

    def let_in(self, tag: str, password: str) -> None:
        """Give a node its own user in Redis; RefusedError while it is quarantined."""
        with self._core.lock:
            quota.let_in(self._core, tag, password)

    def release(self, name: str, by: str) -> bool:
        """End a machine's quarantine; whether it was in one."""
        with self._core.lock:
            return quota.release(self._core, name, by)

    def revoke(self, name: str) -> Node:
        """Bind nothing more to a machine, for good."""
        with self._core.lock:
            return inventory.revoke(self._core, name)

    def forget(self, name: str) -> None:
        """Take out a machine that was proven to be clean."""
        with self._core.lock:
            inventory.forget(self._core, name)

    # -- news from the thread of the links: these wait for no round --------------------------------

    def put_link(self, name: str, trying: bool, why: str = "", fix: str = "") -> None:
        """Whether we try to reach a machine: while we do not, nothing that it has is given up as lost.

        Idempotent.
        """
        self._core.note_reaching(name, lambda r: replace(r, trying=trying, why=why, fix=fix))

    def put_link_state(self, name: str, up: bool, broken: bool) -> None:
        """Count for the figures: the link is up now, or (`broken`) broke by itself. By one thread only."""
        links = self._core.live.links.counts
        links[name] = links.get(name, Linked()).became(up, broken)

    def put_halted(self, name: str, halted: bool) -> None:
        """Whether a person took its node agent down. As `put_link`; not kept over a restart."""
        self._core.note_reaching(name, lambda r: replace(r, halted=halted))

    # -- asking ------------------------------------------------------------------------------------

    def view(self, name: str) -> NodeView:
        """A machine as decisions see it now."""
        with self._core.lock, self._core.ports.ledger.transaction() as tx:
            node = tx.get(Node, name)
            if node is None:
                raise NotFoundError(f"no node {name} in the fleet", fix="pancode node ls")
            return self._core.view_of(node)

    def must_exist(self, names: Sequence[str]) -> None:
        """NotFoundError for the first name that the fleet has not."""
        with self._core.ports.ledger.transaction() as tx:
            for name in names:
                fleet.known_node(tx, name)

    def names(self) -> list[str]:
        """The nodes of the fleet, without those that were removed."""
        with self._core.ports.ledger.transaction() as tx:
            return [node.name for node in tx.find(Node) if node.removed is None]

    def busy_runs(self, names: Sequence[str]) -> list[str]:
        """The runs that may be running on these nodes; no names: on any."""
        with self._core.ports.ledger.transaction() as tx:
            return sorted({fence.run for fence in open_fences(tx) if not names or fence.node in names})

    def fleet(self, process: Json) -> FleetShape:
        """The coordinator and all nodes; `process`: the facts that only the coordinator's process knows."""
        return fleet.fleet(self._core, self._since, process)

    def show(self, name: str) -> Json:
        """One node, how it is reached, and its own facts."""
        return fleet.node(self._core, self._since, name)

    def sandbox_checks(self, names: Sequence[str]) -> list[Json]:
        """The abilities of each node's sandbox, as lines of `doctor`."""
        return fleet.walls(self._core, names)

    def figures(self, facts: Json, process: Mapping[str, float]) -> list[Sample]:
        """The figures of the fleet and of the coordinator's process."""
        return figures(self._core, self._since, facts, process)

    def exposition(self, samples: Sequence[Sample]) -> str:
        """The same as Prometheus reads them."""
        return exposition(FIGURES, samples)
