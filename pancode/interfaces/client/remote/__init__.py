"""Reaches a coordinator on another machine through the user's own `ssh`; uses only the standard library."""

from __future__ import annotations
