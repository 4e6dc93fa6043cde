"""The runtime `scripted`: a test program that acts like good and bad agents, as its task prescribes."""

from __future__ import annotations
