"""Models: their servers, tests, settings and vendors."""

from __future__ import annotations
