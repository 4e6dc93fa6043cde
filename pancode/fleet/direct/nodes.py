"""Direct links of one coordinator: its authority, its port, and which nodes of the ledger may connect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from node_agent.wire.clock import Clock
from node_agent.wire.signing import PublicKey
from pancode.fleet.direct.authority import Authority
from pancode.fleet.direct.entrance import DirectNode, Entrance, Rooms
from pancode.fleet.place import NodeListener, Reach
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.tunnel import Pass
from pancode.kernel.errors import ConfigError, PancodeError
from pancode.kernel.records import Node
from pancode.queue.valkey.layout import node_user

SET_IT = "set in PANCODE_HOME/pancode.yaml, with this machine's address: direct: {listen: 10.0.0.5:7843}"

MORE_FILES = (
    "raise the limit of open files (ulimit -Hn; for a service: LimitNOFILE), then: pancode fleet down, "
    "pancode fleet up"
)

OPEN_IT = "set direct.listen to an address of this machine (ip -brief addr) and a free port (ss -ltn)"


class Direct:
    """Direct links; without a configured address nothing listens. `nodes` reads the nodes with a tag (a name
    made from their key) from the ledger."""

    def __init__(
        self,
        listener: NodeListener | None,
        folder: Path,
        fleet: str,
        clock: Clock,
        nodes: Callable[[str], list[Node]],
    ) -> None:
        self.listener = listener
        self._clock, self._nodes = clock, nodes
        self._authority = Authority(folder, fleet, clock)
        self.entrance: Entrance | None = None

    def furnish(self, rooms: Rooms) -> Entrance | None:
        """Return the entrance, which the caller keeps open; None if no address is configured."""
        if self.listener is not None:
            self.entrance = Entrance(self.listener, self._authority, rooms, self.judge)
        return self.entrance

    def judge(self, key: PublicKey) -> DirectNode | str:
        """Return the direct node with this key, or why it is refused: unknown, removed or in quarantine."""
        text = key.text()
        node = next((n for n in self._nodes(key.tag) if n.public_key == text), None)
        if node is None or node.tag is None or node.removed is not None:
            return "no node of the fleet has that key"
        if node.quarantined is not None:
            return f"{node.name} is quarantined: {node.quarantined}"
        if not Reach.of(node).direct:
            return f"{node.name} uses a tunnel: it is not configured for a direct link"
        return DirectNode(node.name, node_user(node.tag))

    def allowed(self, names: list[str]) -> None:
        """Raise ConfigError, which names these nodes, if this machine does not accept direct nodes."""
        if self.listener is None:
            raise ConfigError(
                f"{', '.join(names)} cannot be linked directly",
                why="direct.listen is not set: this machine does not listen for nodes",
                fix=f"{SET_IT}; then pancode fleet down, then pancode fleet up",
            )

    @property
    def trouble(self) -> ConnectError | None:
        """Return why nodes cannot connect although a port is configured; None if there is no problem."""
        if self.listener is None:
            return None
        why = self.entrance.trouble if self.entrance is not None else "the port has not been opened yet"
        what = f"nodes cannot connect to {self.listener.place}, which {self.listener.place.origin} sets"
        fix = (self.entrance.fix if self.entrance is not None else "") or OPEN_IT
        return ConnectError(LinkFault.NOT_DIRECT, what, why=why, fix=fix) if why else None

    @property
    def troubles(self) -> list[ConnectError]:
        """Return all problems for a user, including that some nodes are refused although the port is open."""
        found = self.trouble
        if found is None and self.entrance is not None and self.entrance.short:
            what = f"nodes are refused at {self.entrance.place}"
            found = ConnectError(LinkFault.NOT_DIRECT, what, why=self.entrance.short, fix=MORE_FILES)
        return [] if found is None else [found]

    def pass_of(self, node: Node | None) -> Pass | None:
        """Return the node's pass for its direct link; None if the node has a tunnel. ConnectError if it may
        not connect."""
        if node is None or node.public_key is None or node.tag is None or not Reach.of(node).direct:
            return None
        if self.listener is None:
            what = f"{node.name} should connect directly, but this machine does not listen"
            fix = f"{SET_IT}; or pancode fleet up {node.name} --link ssh"
            raise ConnectError(LinkFault.NOT_DIRECT, what, why="direct.listen is not set", fix=fix)
        if self.trouble is not None:
            raise self.trouble
        try:
            issued = self._authority.node(node.tag, PublicKey.parse(node.public_key))
            ca = self._authority.ca
        except PancodeError as exc:
            raise ConnectError(LinkFault.NOT_DIRECT, str(exc), why=exc.why, fix=exc.fix) from exc
        return Pass(
            address=str(self.listener.shown),
            ca=ca,
            cert=issued.cert,
            issued_ms=self._clock.wall_ms(),
            renew_ms=issued.renew_ms,
            until_ms=issued.until_ms,
            origin=self.listener.shown.origin,
            node=node.name,
        )
