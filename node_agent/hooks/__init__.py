"""The program that an agent program runs before a tool call: it checks the run's policy."""

from __future__ import annotations
