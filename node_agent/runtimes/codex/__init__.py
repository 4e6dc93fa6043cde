"""The runtime `codex`: OpenAI's Codex CLI, headless."""

from __future__ import annotations
