"""The runtime `gemini`: Google's Gemini CLI, headless."""

from __future__ import annotations
