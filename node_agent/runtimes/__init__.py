"""How each coding agent is started and how its output is read; pure, no IO."""

from __future__ import annotations
