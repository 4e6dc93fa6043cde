"""The first words of both ends of a link to a coordinator, each one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PROTOCOL = 1
MARK = b"pancode-api "
"""Begins a message; text that a shell's start-up files print before it is skipped."""
MOST_LINE = 64 * 1024
_HANDED_ON = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "PATH", "XDG_RUNTIME_DIR")


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """The facts of a login on the machine of the coordinator."""

    version: str
    user: str
    environ: Mapping[str, str]
    folder: str | None
    """The folder there in which the caller stands, absolute."""


def handed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of the caller that bring-up may use, for that call only."""
    return {name: environ[name] for name in _HANDED_ON if name in environ}


def line_of(message: Mapping[str, Any]) -> bytes:
    return MARK + json.dumps(message).encode() + b"\n"


def read_line(line: bytes) -> dict[str, Any] | None:
    """The message of the other end; None for a line of another program, whose last line may have no end."""
    _, mark, text = line.partition(MARK)
    if not mark:
        return None
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
