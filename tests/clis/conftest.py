"""Gives the real programs to the tests of this folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.clis.install import CannotInstall, ensure


@pytest.fixture(scope="session")
def claude_bin() -> Path:
    """The folder that holds `claude`; a machine that cannot have it skips, and says why."""
    try:
        return ensure("claude")
    except CannotInstall as exc:
        pytest.skip(f"the real claude cannot be installed here: {exc}")


@pytest.fixture(scope="session")
def claude_path(claude_bin: Path) -> str:
    """A PATH with `claude` on it."""
    return f"{claude_bin}{os.pathsep}{os.defpath}"
