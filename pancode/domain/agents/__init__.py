"""Agents: their definitions, checks, and the choice of one for a task."""

from __future__ import annotations
