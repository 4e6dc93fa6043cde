"""The worker's tools. Each gives text for the model; what goes wrong is text, too, and never ends the run."""

from __future__ import annotations
