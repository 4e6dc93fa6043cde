"""Runs agent programs over the Agent Client Protocol (ACP), via a PanCode program between shim and agent."""

from __future__ import annotations
