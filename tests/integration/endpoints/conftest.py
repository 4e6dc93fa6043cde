"""Looks at servers on real sockets, as a node does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.endpoints import asking
from node_agent.endpoints import table as waits
from node_agent.endpoints.table import EndpointTable
from node_agent.wire.clock import SystemClock
from tests.crowd import crowded

Look = Callable[..., EndpointTable]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """A node's table that looks at these ports, with the owner's `endpoints`, and has looked once."""
    # A server beside us is as slow as the machine; a look that is given up tells nothing of a server.
    slow = ((waits, "FIRST_S"), (waits, "ROUND_S"), (asking, "HERE_S"), (asking, "READ_S"))
    for module, name in slow:
        monkeypatch.setattr(module, name, getattr(module, name) * crowded())

    def make(
        *ports: int,
        endpoints: Any = (),
        values: dict[str, str] | None = None,
        in_use: bool = False,
        users: Any = (),
    ) -> EndpointTable:
        owners = {"ports": list(ports), "endpoints": list(endpoints), "users": list(users)}
        (tmp_path / "endpoints.json").write_text(json.dumps(owners))
        made = EndpointTable(
            tmp_path, SystemClock(), lambda: values or {}, (), 3_600_000, lambda name: in_use
        )
        made.facts()
        return made

    return make
