"""Runs on vendors' SDKs: PanCode runs the tools; a driver in the owner's environment calls the model."""

from __future__ import annotations
