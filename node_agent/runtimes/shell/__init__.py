"""The runtime `shell`: the user's own script or argument list, no model."""

from __future__ import annotations
