"""A coordinator in memory that has schedules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.pancode.schedules.world import Times


@pytest.fixture
def times(tmp_path: Path) -> Times:
    return Times(tmp_path)
