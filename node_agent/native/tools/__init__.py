"""The worker's tools. Each one returns text for the model, even for an error, which never ends the run."""

from __future__ import annotations
