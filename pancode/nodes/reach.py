"""The way to a machine as the ledger keeps it: its address, its pinned keys, the settings of a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pancode.core.records import Node


@dataclass(frozen=True, slots=True)
class Reach:
    """The value of `Node.target`, plain JSON. `target` and `pins` are SSH's: only its adapter reads them."""

    target: Mapping[str, Any]
    pins: Mapping[str, str] = field(default_factory=dict)
    """By host and port: the host key as known_hosts has it."""
    local: bool = False
    """This machine, through our own SSH server."""
    local_home: str | None = None
    """HOME of that server's commands; None: the user's own."""
    node_home: str | None = None
    uid: int | None = None
    installed_home: str | None = None
    """The node home as the probe found it; None before the first bring-up."""
    is_twin: bool = False
    """It turned out to be in the fleet under another name: nothing there belongs to this one."""
    fleet_key: bool = False
    """The owner wants our own key there, so that the link comes back while nobody is there."""
    halted: bool = False
    """A person took its node agent down: only a person starts it again."""
    direct: bool = False
    """It comes to Redis and the depot by TLS; the SSH connection carries commands and files alone."""

    def data(self) -> dict[str, object]:
        """The form of the ledger's row."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "target": dict(self.target), "pins": dict(self.pins)}

    @classmethod
    def of(cls, node: Node) -> Reach:
        """From the ledger's row."""
        return cls.made_of(node.target)

    @classmethod
    def made_of(cls, data: Mapping[str, Any]) -> Reach:
        """From plain JSON; a field that an older version did not write has its default."""
        return cls(**{f.name: data[f.name] for f in fields(cls) if f.name in data})


def changed(node: Node, **changes: Any) -> Node:
    """The same machine, with these fields of the way to it."""
    return replace(node, target=replace(Reach.of(node), **changes).data())
