"""Runs on vendors' SDKs: PanCode runs tools; a driver in the owner's Python environment calls the model."""

from __future__ import annotations
