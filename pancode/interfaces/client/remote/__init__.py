"""The coordinator on another node, reached through the user's own `ssh`; standard library only."""

from __future__ import annotations
