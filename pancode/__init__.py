"""PanCode: a fleet runtime for coding agents. This package is the coordinator."""

from __future__ import annotations

__version__ = "0.2.0.dev0"
