"""Builds the command of each coding agent and reads its output; pure, no IO."""

from __future__ import annotations
