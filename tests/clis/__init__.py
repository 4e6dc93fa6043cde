"""The real agent programs, for tests that run them against the scripted model server."""

from __future__ import annotations
