"""Commands for nodes and for the coordinator."""

from __future__ import annotations
