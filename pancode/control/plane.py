"""The control plane: every verb of the coordinator, one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from node_agent.wire.signing import SigningKey
from pancode.control import bind, heartbeats, inbound, inventory, keyring, liveness, money, passed_over, quota
from pancode.control.core import ControlSettings, Core, Ports
from pancode.control.enqueue import enqueue
from pancode.control.expiry import lapse
from pancode.control.stop import stop
from pancode.control.tidy import tidy
from pancode.control.work import unit_of_work
from pancode.domain import books
from pancode.domain.fleet import NodeView
from pancode.domain.link_figures import Linked
from pancode.domain.records import Node, Run, Setting
from pancode.errors import NotFoundError, UnavailableError


class Plane:
    """One per coordinator. Verbs are safe to call from any thread; one runs at a time."""

    def __init__(self, ports: Ports, key: SigningKey, fleet: str, rules: ControlSettings) -> None:
        self.core = Core(ports, key, fleet, rules)

    def start(self) -> None:
        """Begin a new epoch, in which every node hears its settings again; nothing is signed before."""
        with self.core.lock:
            with unit_of_work(self.core) as work:
                seen = max((n.epoch_seen for n in work.tx.find(Node)), default=0)
                epoch = self.core.raise_epoch(seen, work.tx)
                keyring.begin(
                    work.tx, keyring.COORDINATOR, self.core.fleet, self.core.key.public, self.core.wall_ms()
                )
                self.core.feed.load(work.tx)
            self.core.enter(epoch)
            with unit_of_work(self.core) as work:
                work.audit("fleet", "info", "coordinator started", epoch=epoch)
                passed_over.recall(self.core, work.tx)
                for node in work.tx.find(Node):
                    heartbeats.say_settings(work, node)

    def listen(self, wait_ms: int) -> bool:
        """Wait, without holding anything up, until a node has written or the time is over."""
        with self.core.ports.ledger.transaction() as tx:
            tags = [n.tag for n in tx.find(Node) if n.tag is not None]
        return bool(self.core.ports.bus.read_up(tags, 1, wait_ms))

    def turn(self) -> int:
        """One round: listen, decide, speak. Returns how many messages came in.

        UnavailableError while Redis cannot be used: nothing is lost, call again.
        """
        with self.core.lock:
            try:
                quota.enforce(self.core)
                heartbeats.hear(self.core)
                taken = inbound.take_in(self.core, 500)
            except UnavailableError:
                liveness.look(self.core, reached=False)
                raise
            liveness.look(self.core, reached=True)
            liveness.tell_states(self.core)
            liveness.give_up_lost(self.core)
            self.act()
            liveness.beat(self.core)
            self._record()
            tidy(self.core)
            lapse(self.core)
            return taken

    def _record(self) -> None:
        noted = self.core.live.to_record
        while not noted.empty():
            level, what, detail = noted.get()
            with unit_of_work(self.core) as work:
                work.audit("trust", level, what, None, **detail)

    def act(self) -> None:
        """Decide and speak: the part of a round that acts on a change of ours. UnavailableError as `turn`."""
        with self.core.lock:
            bind.bind(self.core)
            liveness.flush_controls(
                self.core
            )  # first: a node that is back in service must know it before it gets work
            bind.push_offers(self.core)
            bind.show_tickets(self.core)

    def view(self, name: str) -> NodeView:
        """A machine as decisions see it now; NotFoundError."""
        with self.core.lock, self.core.ports.ledger.transaction() as tx:
            node = tx.get(Node, name)
            if node is None:
                raise NotFoundError(f"no node {name} in the fleet", fix="pancode node ls")
            return self.core.view_of(node)

    def enqueue(self, run: Run) -> Run:
        """Hold the budget, queue an admitted run, give up the lost one that it replaces: all or nothing.

        RefusedError when a ceiling has no room.
        """
        with self.core.lock:
            return enqueue(self.core, run)

    def stop(self, run: str, reason: str) -> Run:
        """Ask for the end of a run."""
        with self.core.lock:
            return stop(self.core, run, reason)

    def add_node(self, node: Node) -> None:
        """Put a machine into the inventory."""
        with self.core.lock:
            inventory.add(self.core, node)

    def rotate_key(self, fresh: SigningKey, by: str) -> None:
        """Sign with this key from now on; the caller has put it on disk."""
        with self.core.lock:
            keyring.rotate(self.core, fresh, by)

    def retire_keys(self) -> tuple[str, ...]:
        """Ids of former keys that no node needs any more."""
        with self.core.lock:
            return keyring.retire(self.core)

    def put_on_record(self, level: str, what: str, **detail: object) -> None:
        """Something about trust that a person is to find; written in the next round, waits for nothing."""
        self.core.live.to_record.put((level, what, detail))

    def enrol(self, name: str, public_key: str) -> Node:
        """Believe this key from now on for that machine."""
        with self.core.lock:
            return inventory.enrol(self.core, name, public_key)

    def change_node(self, name: str, edit: Callable[[Node], Node]) -> Node:
        """Change a machine's labels, slots, pause or way to reach it."""
        with self.core.lock:
            return inventory.change(self.core, name, edit)

    def adjust_node(self, name: str, wanted: inventory.NodeChange, by: str) -> Node:
        """Change the slots and labels that `node add` has said; NotFoundError, UsageError."""
        with self.core.lock:
            return inventory.adjust(self.core, name, wanted, by)

    def note_login(self, name: str, runtime: str, by: str, outcome: str | None = None) -> None:
        """A vendor's login is opened on a machine, or has come to its end; NotFoundError."""
        with self.core.lock:
            inventory.note_login(self.core, name, runtime, by, outcome)

    def put_link(self, name: str, trying: bool, why: str = "", fix: str = "") -> None:
        """Whether we try to reach a machine: while we do not, nothing that it has is given up as lost.

        Waits for no round, and may be said again.
        """
        self.core.note_reaching(name, lambda r: replace(r, trying=trying, why=why, fix=fix))

    def put_link_state(self, name: str, up: bool, broken: bool) -> None:
        """For figures: its link is up now, or (`broken`) went by itself. By one thread; waits for nothing."""
        links = self.core.live.links
        links[name] = links.get(name, Linked()).became(up, broken)

    def put_halted(self, name: str, halted: bool) -> None:
        """Whether a person took its node agent down. As `put_link`; not kept over a restart."""
        self.core.note_reaching(name, lambda r: replace(r, halted=halted))

    def drain(self, name: str, reason: str | None, by: str) -> Node:
        """Start nothing new on a machine, or take it back (reason None)."""
        with self.core.lock:
            return inventory.drain(self.core, name, reason, by)

    def pause(self, name: str, reason: str | None, by: str) -> Node:
        """Give a machine no new work, or (reason None) work again; NotFoundError."""
        with self.core.lock:
            return inventory.pause(self.core, name, reason, by)

    def let_in(self, tag: str, password: str) -> None:
        """Its own user in Redis; RefusedError while it is quarantined."""
        with self.core.lock:
            quota.let_in(self.core, tag, password)

    def release(self, name: str, by: str) -> bool:
        """End a machine's quarantine; whether it was in one."""
        with self.core.lock:
            return quota.release(self.core, name, by)

    def revoke(self, name: str) -> Node:
        """Bind nothing more to a machine, for good."""
        with self.core.lock:
            return inventory.revoke(self.core, name)

    def forget_node(self, name: str) -> None:
        """Its cleaning was proven: take it out."""
        with self.core.lock:
            inventory.forget(self.core, name)

    def set_ceilings(self, scope: str, said: books.Ceilings, by: str) -> None:
        """Change those that are said: USD, tokens, time of agents."""
        with self.core.lock:
            money.set_ceilings(self.core, scope, said, by)

    def unset_ceiling(self, scope: str, by: str) -> None:
        """The configured ceiling counts again; NotFoundError when none was set."""
        with self.core.lock:
            money.unset_ceiling(self.core, scope, by)

    def settle_by_hand(self, run: str, usd: Decimal, by: str) -> int:
        """Book the cost of a run that nobody could tell."""
        with self.core.lock:
            return money.settle_by_hand(self.core, run, usd, by)

    def put_setting(self, name: str, value: object | None, by: str) -> None:
        """Change one durable setting; None removes it."""
        with unit_of_work(self.core) as work:
            if value is None:
                work.tx.delete(Setting, name)
            else:
                work.tx.put(Setting(name, value, self.core.wall_ms(), by))
            work.audit("fleet", "info", f"setting {name}", by=by, value=value)
