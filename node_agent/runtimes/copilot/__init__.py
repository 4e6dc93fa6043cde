"""The runtime `copilot`: GitHub's Copilot CLI, headless, with your own model server and no login."""

from __future__ import annotations
