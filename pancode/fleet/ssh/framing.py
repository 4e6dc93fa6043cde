"""Separates a command's output on a node from the output of the login shell before it (pure)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

MARK = "@@pancode-output@@"
NOISE = 64 * 1024
"""So many bytes of a login shell's own words, with the mark, are read beside a command's output."""
_SAYS = f"printf '%s\\n' {MARK}; printf '%s\\n' {MARK} >&2; exec \"$@\""


def framed(argv: Sequence[str]) -> str:
    """A command line for any login shell: it marks where both outputs of `argv` begin, then runs `argv`."""
    return shlex.join(["sh", "-c", _SAYS, "pancode", *argv])


def own(output: bytes) -> bytes:
    """Without what stands before the mark; all of it where the shell did not come to the mark."""
    before, mark, after = output.partition(f"{MARK}\n".encode())
    return after if mark else before
