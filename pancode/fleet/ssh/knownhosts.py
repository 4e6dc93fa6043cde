"""Reads the keys of jump hosts from the user's own known_hosts file."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from pancode.fleet.ssh.connection import as_host_key
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.target import Target


def known_key(target: Target, files: tuple[Path, ...]) -> HostKey | None:
    """The first plain key that one of the files has for this host; None when none has."""
    for file in files:
        try:
            known = asyncssh.read_known_hosts(str(file))
        except (OSError, ValueError):
            continue
        keys = known.match(target.host, target.host, target.port)[0]
        for key in keys:
            return as_host_key(key)
    return None
