"""The runtime `scripted`: the shipped double, which does on command what good and bad agents do."""

from __future__ import annotations
