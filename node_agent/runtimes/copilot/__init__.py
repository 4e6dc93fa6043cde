"""The runtime `copilot`: GitHub's Copilot CLI, headless, also with a user's model server and no login."""

from __future__ import annotations
