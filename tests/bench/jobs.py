"""What the peer's workers run: the same program as our nodes, started the same plain way."""

from __future__ import annotations

import subprocess


def run(argv: list[str]) -> str:
    """Its standard output."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
