"""Runs agent programs over the Agent Client Protocol: our program between the shim and the agent."""

from __future__ import annotations
