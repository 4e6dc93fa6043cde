"""The first words of both ends of a link to a coordinator, each one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PROTOCOL = 1
MARK = b"pancode-api "
"""Begins what is said; whatever a shell's start-up files print before it is skipped."""
MOST_LINE = 64 * 1024
HANDED_ON = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "PATH", "XDG_RUNTIME_DIR")
"""What bring-up may use of the caller's environment, for that call only."""


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """What the machine of the coordinator says of the login there."""

    version: str
    user: str
    environ: Mapping[str, str]
    folder: str | None
    """The folder there in which the caller stands, absolute."""


def line_of(said: Mapping[str, Any]) -> bytes:
    return MARK + json.dumps(said).encode() + b"\n"


def read_line(line: bytes) -> dict[str, Any] | None:
    """What the other end says; None for a line of somebody else, whose last line may have no end."""
    _, mark, words = line.partition(MARK)
    if not mark:
        return None
    try:
        said = json.loads(words)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
