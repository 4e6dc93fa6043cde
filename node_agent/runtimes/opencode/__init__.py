"""The runtime `opencode`: OpenCode, headless, with any model server with OpenAI's chat API."""

from __future__ import annotations
