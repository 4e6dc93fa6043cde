"""Reaches a coordinator on another node through the user's own `ssh`; standard library only."""

from __future__ import annotations
