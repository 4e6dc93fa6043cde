"""A coordinator in memory that has schedules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.pancode.work.schedule.world import Times


@pytest.fixture
def times(tmp_path: Path) -> Times:
    return Times(tmp_path)
