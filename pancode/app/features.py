"""The features beside the engine: the one table of what they add to the way of a run."""

from __future__ import annotations

from pancode.runs.features import Features

FEATURES = Features()
