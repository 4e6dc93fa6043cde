"""Reads from a node's record how SSH reaches it: its target, the pinned keys, and the login."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pancode.fleet.place import Reach
from pancode.fleet.ssh.credentials import SshLogin
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.target import Target
from pancode.kernel.declared import from_json, to_json

NO_VARIABLES: Mapping[str, str] = {}


def reach_to(target: Target, pins: Mapping[str, HostKey] | None = None, **output: Any) -> Reach:
    """Return how to reach this target, as `Reach`; `output`: its further fields."""
    lines = {endpoint: key.line for endpoint, key in (pins or {}).items()}
    return Reach(to_json(target), lines, **output)


def target_of(reach: Reach) -> Target:
    """Return the SSH target of the node."""
    return from_json(Target, reach.target)


def pins_of(reach: Reach) -> dict[str, HostKey]:
    """Return the accepted host keys, by host and port."""
    return {endpoint: HostKey.parse(line) for endpoint, line in reach.pins.items()}


def login_for(
    reach: Reach, own_keys: tuple[str, ...], user_home: Path, environ: Mapping[str, str] = NO_VARIABLES
) -> SshLogin:
    """Return the login: for this machine only the loopback key; else the fleet key, then the user's keys.
    `environ`: the variables of the user's login session."""
    if reach.local:
        return SshLogin(keys=own_keys, own_only=True)
    return SshLogin(home=str(user_home), keys=own_keys, environ=environ)
