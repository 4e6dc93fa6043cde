"""A node that holds the key of a scripted model server, for runs whose calls go through its gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from node_agent.gateway import spec as places
from node_agent.wiring import Parts
from tests.fakemodel import FakeModel
from tests.integration.gateway.gateways import KEY, VARIABLES
from tests.integration.node.node_world import NodeWorld, until

__all__ = ["KEY", "GatewayWorld"]


class GatewayWorld(NodeWorld):
    """With `path` as its agents' PATH, and key and server of this runtime in its owner's file."""

    def __init__(self, tmp_path: Path, model: FakeModel, runtime: str, path: str) -> None:
        super().__init__(tmp_path)
        self.launched_by: Callable[[Any], Any] | None = None
        """For a test that wants its program started in another way."""
        self.folder, self.model = tmp_path, model
        settings = json.loads(self.home.settings.read_text())
        self.home.settings.write_text(json.dumps({**settings, "path": path}))
        name, base, mount = VARIABLES[runtime]
        self.owner_writes(**{name: KEY, base: model.url + mount})

    def built(self) -> Parts:
        parts = super().built()
        if self.launched_by is None:
            return parts
        runtimes = self.launched_by(parts.world.runtimes)
        return replace(parts, world=replace(parts.world, runtimes=runtimes))

    def owner_writes(self, **values: Any) -> None:
        self.home.secrets.write_text(json.dumps(values))
        self.home.secrets.chmod(0o600)

    @property
    def attempt(self) -> Path:
        assert self.parts is not None
        (entry,) = self.parts.world.journal.entries()
        return self.parts.world.journal.folder(entry.identity)

    def counted(self) -> int:
        """Tokens, so far."""
        found = places.read_count(self.attempt)
        return 0 if found is None else found.tokens.total

    def gateway(self) -> int:
        """Its process."""
        until(lambda: places.find_gateway(self.attempt) is not None)
        found = places.find_gateway(self.attempt)
        assert found is not None
        return found[0]
