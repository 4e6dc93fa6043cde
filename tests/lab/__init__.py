"""Real SSH hosts on one Linux machine, for tests.  See README.md."""

from __future__ import annotations

from .lab import Lab, own_name, reap
from .system import Fail, Unsupported, missing

__all__ = ["Fail", "Lab", "Unsupported", "missing", "own_name", "reap"]
