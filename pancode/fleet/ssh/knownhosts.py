"""Reads the keys of hosts from the user's own known_hosts files."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from pancode.fleet.ssh.connection import as_host_key
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.target import Target


def known_keys(target: Target, home: Path) -> list[HostKey]:
    """The plain keys that the user's file and the machine's have for this host, in their order."""
    found = list[HostKey]()
    for file in (home / ".ssh/known_hosts", Path("/etc/ssh/ssh_known_hosts")):
        try:
            known = asyncssh.read_known_hosts(str(file))
        except (OSError, ValueError):
            continue
        found += map(as_host_key, known.match(target.host, target.host, target.port)[0])
    return found
