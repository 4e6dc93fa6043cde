"""Use cases about nodes: messages, heartbeats, silence, inventory."""

from __future__ import annotations
