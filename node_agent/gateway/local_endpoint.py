"""Sends a run's calls to an endpoint of this node: its address, key and slots, which no order carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from node_agent.attempt.ports import StepFailed
from node_agent.endpoints.table import EndpointServer
from node_agent.files.durable import make_folder
from node_agent.gateway.slots import folder_of
from node_agent.runtimes.vendors import Way, local_way
from node_agent.wire.endpoint import RUNTIME_WIRES, Health
from node_agent.wire.failure import FailureKind
from node_agent.wire.order import Order


@dataclass(frozen=True, slots=True)
class Lead:
    """`free`: the model costs nothing there; `slots`: calls at once, 0: as many as come."""

    way: Way
    free: bool
    slots: int
    slots_folder: Path
    ca: str

    def told(self) -> dict[str, Any]:
        """Its entry in the gateway's spec."""
        at = str(self.slots_folder.absolute())
        return {"local": self.free, "slots": self.slots, "slots_folder": at, "ca": self.ca}


class Near:
    """The endpoints of this node by name. `folder`: where calls at one of them share its slots."""

    def __init__(self, find: Callable[[str], EndpointServer | None], folder: Path) -> None:
        self._find, self._folder = find, folder

    def lead(self, order: Order) -> Lead:
        """Raises StepFailed, and OSError of the disk."""
        name = order.endpoint or ""
        server = self._find(name)
        if server is None:
            words = f"endpoint {name} is not there now: its server was stopped, or does not answer"
            raise StepFailed(FailureKind.MODEL_FAILED, words)
        fact = server.fact
        if fact.health is Health.NEEDS_KEY:
            raise StepFailed(FailureKind.MODEL_AUTH, f"endpoint {name}: {fact.words}; {fact.fix}")
        wire = RUNTIME_WIRES.get(order.runtime)
        way = local_way(order.runtime, order.model, server.url, server.key)
        if way is None or wire not in fact.wires:
            words = f"endpoint {name} speaks {', '.join(fact.wires)}, and {order.runtime} asks on {wire}"
            raise StepFailed(FailureKind.CANNOT_START, words)
        model = fact.model(order.model or "")
        folder = folder_of(self._folder, name)
        make_folder(self._folder)
        make_folder(folder)
        free = fact.free and not (model is not None and model.remote)
        slots = (model.slots if model is not None and fact.slots is None else fact.slots) or 0
        return Lead(replace(way, mount=""), free, slots, folder, server.ca or "")
