"""The worker's tools. Each returns text for the model; an error is text too, and never ends the run."""

from __future__ import annotations
