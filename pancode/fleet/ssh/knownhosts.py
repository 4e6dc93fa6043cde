"""Reads host keys from the known_hosts files of the user and the system."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from pancode.fleet.ssh.connection import as_host_key
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.target import Target


def known_keys(target: Target, home: Path) -> list[HostKey]:
    """Return the plain keys for this host from the user's file and the system's, in order."""
    found = list[HostKey]()
    for file in (home / ".ssh/known_hosts", Path("/etc/ssh/ssh_known_hosts")):
        try:
            known = asyncssh.read_known_hosts(str(file))
        except (OSError, ValueError):
            continue
        found += map(as_host_key, known.match(target.host, target.host, target.port)[0])
    return found
