"""Runs on vendors' SDKs: our program judges and does, a driver in the owner's environment asks the model."""

from __future__ import annotations
