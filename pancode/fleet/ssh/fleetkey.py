"""The fleet key's line in a node's authorized_keys: its rights, and its mark (pure)."""

from __future__ import annotations

import re

from pancode.fleet.ssh.hostkey import HostKey

OPTIONS = "restrict,port-forwarding"
"""No terminal, no agent, no X11, no user rc: commands and forwarded sockets only."""


def marker(fleet: str) -> str:
    """The line's comment; one for each fleet."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", fleet):
        raise ValueError(f"not a fleet id: {fleet!r}")
    return f"pancode fleet {fleet}"


def authorized_line(public: str, fleet: str) -> str:
    """The whole line for `public` (`ssh-ed25519 AAAA...`); ValueError when that is no key."""
    return f"{OPTIONS} {HostKey.parse(public).line} {marker(fleet)}"
