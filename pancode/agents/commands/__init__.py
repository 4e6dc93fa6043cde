"""Commands that list the choices of a dispatch: agents, runtimes, models, presets."""

from __future__ import annotations
