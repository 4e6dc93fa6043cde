"""How each machine of the inventory is reached: target, pinned keys, our own server for this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pancode.adapters.ssh.credentials import Login
from pancode.adapters.ssh.hostkey import HostKey
from pancode.adapters.ssh.target import Target
from pancode.domain.records import Node


@dataclass(frozen=True, slots=True)
class Reach:
    """What the ledger keeps of the way to a node (plain JSON in `Node.target`)."""

    target: Target
    pins: Mapping[str, HostKey] = field(default_factory=dict)
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
        return {
            "target": _target_data(self.target),
            "pins": {endpoint: key.line for endpoint, key in self.pins.items()},
            "local": self.local,
            "local_home": self.local_home,
            "node_home": self.node_home,
            "uid": self.uid,
            "installed_home": self.installed_home,
            "is_twin": self.is_twin,
            "fleet_key": self.fleet_key,
            "halted": self.halted,
            "direct": self.direct,
        }

    @classmethod
    def of(cls, node: Node) -> Reach:
        """From the ledger's row."""
        return cls.made_of(node.target)

    @classmethod
    def made_of(cls, data: Mapping[str, Any]) -> Reach:
        """From plain JSON."""
        return cls(
            target=_target_from(data["target"]),
            pins={endpoint: HostKey.parse(line) for endpoint, line in data["pins"].items()},
            local=bool(data["local"]),
            local_home=data.get("local_home"),
            node_home=data.get("node_home"),
            uid=data.get("uid"),
            installed_home=data.get("installed_home"),
            is_twin=bool(data.get("is_twin", False)),
            fleet_key=bool(data.get("fleet_key", False)),
            halted=bool(data.get("halted")),
            direct=bool(data.get("direct")),
        )


def _target_data(target: Target) -> dict[str, object]:
    data = asdict(target)
    data["hops"] = [_target_data(hop) for hop in target.hops]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}


def _target_from(data: Mapping[str, Any]) -> Target:
    values = {f.name: data[f.name] for f in fields(Target) if f.name in data}
    for name in ("identities", "certificates", "proxy", "warnings", "ignored"):
        values[name] = tuple(values.get(name, ()))
    values["algorithms"] = tuple((a, b) for a, b in values.get("algorithms", ()))
    values["hops"] = tuple(_target_from(hop) for hop in values.get("hops", ()))
    return Target(**values)


def login_for(reach: Reach, own_keys: tuple[str, ...], user_home: Path) -> Login:
    """The loopback key alone for this machine; elsewhere the fleet key first, then the user's own."""
    if reach.local:
        return Login(keys=own_keys, own_only=True)
    return Login(home=str(user_home), keys=own_keys)
