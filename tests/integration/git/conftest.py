"""Fixtures of the code transport's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.adapters.git.depot import Depot
from tests.integration.git.repos import Repo, simple


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depots")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Three commits, three files."""
    return simple(tmp_path / "project")
