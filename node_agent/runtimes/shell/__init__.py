"""The runtime `shell`: runs the user's own script or argument list, without a model."""

from __future__ import annotations
