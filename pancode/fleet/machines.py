"""Brings machines up, halts them, takes them out; lets them in and cleans them when a link comes back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from node_agent.wire.clock import Clock
from pancode.control.core import Core
from pancode.control.faces import NodeResult, Progress
from pancode.core.records import Node
from pancode.errors import ConflictError, NotFoundError, UsageError
from pancode.fleet import inventory
from pancode.fleet.ports import ActRequest, Hands, LinkEvents, LinkNews, MachineAct
from pancode.nodes.node import NodeState
from pancode.nodes.place import Reach, changed

_QUIET = (NodeState.SUSPECT, NodeState.UNREACHABLE, NodeState.LOST)


class Machines:
    """The use cases of the fleet. May be called from several threads."""

    def __init__(self, core: Core, clock: Clock, hands: Hands) -> None:
        self.core = core
        self.hands = hands
        self._clock = clock
        self._cleaned_ms: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        """By node: the changed host key that was put on record last."""

    def start(self) -> None:
        """Admit every enrolled node to Redis, and begin to keep its link."""
        self.admit_all()
        self.hands.begin(LinkEvents(self.contact, self._silent, self.tried))
        for node in self.nodes():
            reach = Reach.of(node)
            inventory.put_halted(self.core, node.name, reach.halted)
            if node.tag is not None and reach.installed_home is not None:
                self.hands.keep(node.name)

    def stop(self) -> None:
        """End links and servers; node agents go on."""
        self.hands.close()

    # -- the inventory -----------------------------------------------------------------------------

    def enlist(self, node: Node) -> Node:
        """Put it into the inventory. ConflictError."""
        inventory.add(self.core, node)
        # whatever was said of an earlier one of that name
        inventory.put_link(self.core, node.name, trying=True)
        inventory.put_halted(self.core, node.name, False)
        return node

    def trusted(self, name: str, by: str, now: str, before: str | None) -> None:
        """A person has looked at the host key that is pinned since this moment; the link starts anew."""
        self.core.live.record_trust("warning", "host key trusted", node=name, by=by, now=now, before=before)
        self._refused.pop(name, None)
        self.hands.leave(name)
        if Reach.of(self.known(name)).installed_home is not None:
            self.hands.keep(name)

    def admit_all(self) -> None:
        """Every enrolled node has its Redis user again (a new server has none), but in quarantine."""
        for node in self.nodes():
            if node.tag is not None and node.quarantined is None:
                self.hands.admit(node.tag)

    def let_in(self, names: Sequence[str]) -> None:
        """These have their Redis users now, and not only at the next look after their links."""
        for name in names:
            node = self.known(name)
            if node.tag is not None and node.removed is None:
                self.hands.admit(node.tag)

    # -- bringing up, halting, taking out ------------------------------------------------------------

    def up(self, names: Sequence[str], progress: Progress, agent_path: str | None = None) -> list[NodeResult]:
        """Bring these nodes up (none given: all, and this machine), at once."""
        if not names:
            self._include_this_machine()
        meant = [node.name for node in self._meant(names)]
        return self.hands.do(MachineAct.UP, meant, ActRequest(progress, agent_path))

    def set_link(self, names: Sequence[str], direct: bool) -> None:
        """Sets the link of these nodes (none given: all but this machine) from the next bring-up on.

        ConfigError where nothing of ours listens; UsageError for this machine, which needs neither.
        """
        nodes = self._meant(names)
        ours = [n.name for n in nodes if Reach.of(n).local]
        if names and ours:
            raise UsageError(
                f"{', '.join(ours)} is this machine, which reaches Redis and the depot by name",
                fix="leave --link out for it",
            )
        chosen = [n.name for n in nodes if n.name not in ours]
        if direct:
            self.hands.check_direct(chosen)
        for name in chosen:
            inventory.change(self.core, name, partial(changed, direct=direct))

    def down(
        self, names: Sequence[str], progress: Progress, agent_path: str | None = None
    ) -> list[NodeResult]:
        """End the node agents of these nodes (none given: all); their attempts go on and deliver later."""
        nodes = [self.known(name) for name in names] or self.nodes()
        ready = [n.name for n in nodes if Reach.of(n).installed_home is not None]
        return self.hands.do(MachineAct.DOWN, ready, ActRequest(progress, agent_path, self._halt))

    def _halt(self, name: str) -> None:
        """Only `fleet up` starts its node agent again."""
        inventory.change(self.core, name, partial(changed, halted=True))
        inventory.put_halted(self.core, name, True)

    def remove(self, name: str, progress: Progress, agent_path: str | None = None) -> NodeResult:
        """Take out all that we brought and prove it; a node that is away is revoked and cleaned later."""
        inventory.revoke(self.core, self.known(name).name)
        (result,) = self.hands.do(MachineAct.REMOVE, [name], ActRequest(progress, agent_path))
        if not result.ok and self.find(name) is None:  # a contact was before us, and has cleaned it
            return NodeResult(name, True, (), ("removed",))
        return result

    def cleaned(self, name: str) -> bool:
        """Another tool has cleaned it: one whose cleaning we still owe is forgotten."""
        if not self._is_owed(name):
            return False
        (result,) = self.hands.do(MachineAct.CLEANED, [name], ActRequest())
        return result.ok

    def _include_this_machine(self) -> None:
        """A fleet begins with the machine it is started on; once its owner took it out, it stays out."""
        with self.core.ports.ledger.transaction() as tx:
            rows = tx.find(Node)
        if not any(Reach.of(row).local for row in rows):
            with suppress(ConflictError):  # two `fleet up` at once: the other one has just added it
                self.enlist(self.hands.this_machine(frozenset(row.name for row in rows)))

    # -- what links tell ---------------------------------------------------------------------------

    def contact(self, name: str) -> None:
        """A node is reached: let it into Redis (which may have forgotten it); clean it if it was removed."""
        node = self.find(name)
        if self._is_owed(name):
            if self._may_clean(name):
                self.hands.clean(name)
        elif node is not None and node.tag is not None and node.quarantined is None:
            self.hands.admit(node.tag)

    def _may_clean(self, name: str) -> bool:
        """Each try ends the link and dials anew, which is a contact: one in the time of a tending will do."""
        now = self._clock.mono_ms()
        last = self._cleaned_ms.get(name)
        if last is not None and now - last < self.hands.tend_ms:
            return False
        self._cleaned_ms[name] = now
        return True

    def tried(self, name: str, news: LinkNews) -> None:
        """A link that waits for a person, or that is not kept, tries nothing."""
        inventory.put_link_state(self.core, name, news.up, news.broken)
        if (
            news.changed_key and self._refused.get(name) != news.changed_key
        ):  # once, however often it is tried
            self._refused[name] = news.changed_key
            self.core.live.record_trust("error", "changed host key refused", node=name, why=news.changed_key)
        inventory.put_link(self.core, name, news.trying, news.why, news.fix)

    def _silent(self, name: str) -> bool:
        """Whether nothing was heard of the node for so long that its agent may have died."""
        node = self.find(name)
        return node is not None and node.tag is not None and inventory.view(self.core, name).state in _QUIET

    # -- rows ----------------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """All but those that are gone for good."""
        with self.core.ports.ledger.transaction() as tx:
            return [n for n in tx.find(Node) if n.removed != NodeState.REMOVED.value]

    def find(self, name: str) -> Node | None:
        return next((n for n in self.nodes() if n.name == name), None)

    def known(self, name: str) -> Node:
        """NotFoundError."""
        node = self.find(name)
        if node is None:
            raise NotFoundError(f"no node {name} in the fleet", fix="pancode node ls")
        return node

    def _meant(self, names: Sequence[str]) -> list[Node]:
        return [self.known(name) for name in names] or [n for n in self.nodes() if n.removed is None]

    def _is_owed(self, name: str) -> bool:
        node = self.find(name)
        return node is not None and node.removed == NodeState.NOT_CLEANED.value
