"""The command line of each coding agent and the parser of its output. Pure, no IO."""

from __future__ import annotations
