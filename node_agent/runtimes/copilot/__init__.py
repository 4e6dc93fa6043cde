"""The runtime `copilot`: GitHub's Copilot CLI, headless, also with your own model server and no login."""

from __future__ import annotations
