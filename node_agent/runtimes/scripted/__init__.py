"""The runtime `scripted`: a scripted stand-in that behaves as good and bad agents do, on command."""

from __future__ import annotations
