"""A coordinator in memory that has workflows, and a project of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.pancode.workflows.trees import Trees
from tests.unit.pancode.workflows.world import Flows


@pytest.fixture
def flows(tmp_path: Path) -> Flows:
    return Flows(tmp_path)


@pytest.fixture
def trees(flows: Flows, tmp_path: Path) -> Trees:
    """A project, and a depot that knows what was asked of it."""
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    made = Trees()
    flows.coordinator.depot = made
    flows.coordinator.restart()
    flows.node.breathe()
    return made
