"""The frames with which one pair of pipes carries many connections, and the line that precedes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

PROTOCOL = 1
MARK = b"pancode-api "
"""The text that begins a message; text before it, which a shell's startup files print, is skipped."""
MOST_LINE = 64 * 1024


def line_of(message: Mapping[str, Any]) -> bytes:
    return MARK + json.dumps(message).encode() + b"\n"


def read_line(line: bytes) -> dict[str, Any] | None:
    """Return the other end's message, even if text precedes it on the line; None for any other line."""
    _, mark, text = line.partition(MARK)
    if not mark:
        return None
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


PIECE = 64 * 1024
"""The most bytes of one frame's payload."""
WINDOW = 8 * PIECE
"""How many bytes of one connection may be in transit, so that a slow reader delays only its own sender."""
HEAD = struct.Struct(">BII")
"""Before each payload: the frame's kind, the number of its channel, the payload's length."""


class FrameKind(IntEnum):
    """The kind of a frame."""

    OPEN = 1
    OPENED = 2
    REFUSED = 3
    DATA = 4
    GRANT = 5
    """Permits this many more bytes of DATA."""
    END = 6
    """The sender has sent all its DATA; it still reads."""
    CUT = 7
    """As END, and the sender takes no more DATA either."""


def frame_of(kind: FrameKind, number: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(kind, number, len(payload)) + payload
