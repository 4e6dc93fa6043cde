"""PanCode: a fleet runtime for coding agents; this package is the coordinator's side."""

from __future__ import annotations

__version__ = "0.1.0"
