"""The node agent's world, begun and ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.node.node_world import NodeWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[NodeWorld]:
    world = NodeWorld(tmp_path)
    world.begin()
    yield world
    world.end()
