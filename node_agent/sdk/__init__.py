"""Runs on vendors' SDKs: our program judges and acts, a driver in the owner's environment asks the model."""

from __future__ import annotations
