"""The runtime `claude`: Claude Code, headless."""

from __future__ import annotations
